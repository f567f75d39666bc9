"""What a study's folder records of the run that led to a state: its phases, its data and its losses.

It is read from spec.json and the logs of the segments, from the state's back to the first. Needs no torch.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.data.description import FILE
from deepen.evaluate.task import LOSSES, MARK_VALIDATION
from deepen.growth.layout import GrownBlock, describe_blocks, describe_layout
from deepen.growth.spec import Growth, GrowthStep
from deepen.interop.history import DataPosition, FinalScore, Trained, TrainedPhase
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.recipes import CONSTANT_DEPTH, get_recipe
from deepen.schedule.trainable import TrainedParts
from deepen.study.define.study import Study
from deepen.study.store.errors import StoreError
from deepen.study.store.log_lines import Line, last_steps, mean_loss, read_log
from deepen.train.checkpoint.state_check import StateHeader


def read_run(folder: Path, key: str, header: StateHeader, study: Study, *, arm: str, fingerprint: str) -> Trained:
    """The run that led to a state.

    Args:
        folder: the study's folder.
        key: key of the state's segment.
        header: the state's header.
        study: the study.
        arm: name of the arm; empty if it is not known.
        fingerprint: identifies the study's data.

    Raises:
        StoreError: a segment's spec.json is missing or damaged.
    """
    progress = header.progress
    specs = [*_read_specs(folder, key)][::-1]
    logs = [folder / "segments" / spec["key"] for spec in specs]
    steps = {line["tokens"]: line for log in logs for line in _read_lines(log / "metrics.jsonl", progress.tokens)}
    averaged = last_steps(steps.values(), progress.tokens, study.evaluation.every_tokens)
    evaluations = [line for log in logs for line in _read_lines(log / "evals.jsonl", progress.tokens)]
    scores = {line["task"]: line for line in evaluations}
    losses = [scores.pop(name) for name in LOSSES if name in scores]
    validation = max(losses, key=lambda line: (line["tokens"], line["task"] == MARK_VALIDATION), default=None)
    recipes = (get_recipe(each.recipe).name for each in study.arms if each.name == arm)
    recipe = next(recipes, CONSTANT_DEPTH.name if study.depths else "")  # the best fixed depth, if it is no arm's
    last = specs[-1]["recipe"]
    facts = _read_data_facts(folder, study)
    first = 0 if study.start is None else study.start.first_token(fingerprint, study.context, header.seed)
    return Trained(
        study=study.name,
        arm=arm,
        recipe=recipe,
        seed=header.seed,
        data=facts.get("name") or Path(study.data).name,
        source=facts.get("source", ""),
        licence=facts.get("licence", ""),
        position=DataPosition(
            fingerprint=fingerprint,
            window=study.context,
            seed=header.seed,
            tokens=first + progress.tokens,
        ),
        tokens=progress.tokens,
        steps=progress.step,
        flops=progress.flops,
        seconds=progress.seconds,
        batch_tokens=last["batch_tokens"],
        context=last["context"],
        optimizer=study.settings.optimizer.kind,
        precision=study.settings.precision,
        phases=tuple(_read_phases(specs, progress.tokens, 0 if study.start is None else study.start.depth)),
        train_loss=mean_loss(averaged),
        train_loss_steps=len(averaged),
        val_loss=None if validation is None else validation["value"],
        tasks={task: _read_score(line) for task, line in scores.items()},
    )


def _read_score(line: Line) -> FinalScore:
    """The score in a line of evals.jsonl, whose first metric is its value."""
    return FinalScore(
        value=line["value"],
        stderr=line.get("stderr"),
        n=line.get("n"),
        metric=next(iter(line.get("metrics") or {}), ""),
    )


def _read_specs(folder: Path, key: str | None) -> Iterator[dict[str, Any]]:
    """The content of spec.json of a segment and of those before it, the latest first."""
    while key is not None:
        path = folder / "segments" / key / "spec.json"
        try:
            spec = durable.read_json(path)
        except durable.DamagedError as error:
            raise StoreError(str(error), remedy="run the study again: it repairs its folder") from None
        if spec is None:
            raise StoreError(f"{path} is missing", remedy="run the study again: it repairs its folder")
        yield spec
        key = spec["parent"]


def _read_data_facts(folder: Path, study: Study) -> dict[str, str]:
    """Name, source and licence of a study's data, as far as its dataset.json is there and has them."""
    for candidate in (folder / "data", Path(study.data)):
        try:
            content = json.loads((candidate / FILE).read_bytes())
            source = content.get("source") or {}
            facts = {
                "name": content.get("name"),
                "source": " ".join(filter(None, (source.get(key) for key in ("dataset", "config", "revision"))))
                or Path(source.get("path", "")).name,
                "licence": content.get("licence") or ", ".join(content.get("licences") or ()),
            }
        except (OSError, ValueError, AttributeError, TypeError):
            continue
        return {name: value.strip() for name, value in facts.items() if isinstance(value, str)}
    return {}


def _read_phases(specs: list[dict[str, Any]], tokens: int, depth: int) -> Iterator[TrainedPhase]:
    """The phases of a run: segments in a row that differ only in their part of the learning rate are one.

    Args:
        specs: the content of spec.json of each segment, in order.
        tokens: the run's tokens so far.
        depth: blocks of the checkpoint from which the run began.
    """
    phase: TrainedPhase | None = None
    for spec in specs:
        recipe = spec["recipe"]
        growth = "" if recipe.get("growth") is None else _describe_growth(recipe["growth"], depth, recipe["depth"])
        rate = RatePiece(**_without_type(recipe["rate"]))
        end = min(recipe["end"], tokens)
        parts = TrainedParts(**_without_type(recipe["trains"]))
        executed, trained = len(parts.executed), _describe_trained(parts)
        continues = phase is not None and (phase.label, phase.depth, phase.trained) == (
            spec["label"],
            executed,
            trained,
        )
        if phase is not None and not (continues and not growth):
            yield phase
            phase = None
        phase = TrainedPhase(
            label=spec["label"],
            depth=executed,
            tokens=end - recipe["start"] + (0 if phase is None else phase.tokens),
            trained=trained,
            growth=growth if phase is None else phase.growth,
            start_lr=rate.at(recipe["start"]) if phase is None else phase.start_lr,
            end_lr=rate.at(end),
        )
        depth = recipe["depth"]
    if phase is not None:
        yield phase


def _describe_growth(content: Mapping[str, Any], old: int, new: int) -> str:
    step = _read_growth(content, old, new)
    zero = any(step.blocks[index].zero_output for index in step.new_blocks)
    made = describe_blocks(step.blocks)
    return f"{old} to {new} blocks, from {made}{', outputs of new blocks zero' if zero else ''}"


def _read_growth(content: Mapping[str, Any], old: int, new: int) -> GrowthStep:
    """The growth in a spec.json; before format 6 it was not resolved."""
    if content["type"] == Growth.__name__:
        return Growth(**_without_type(content)).resolve(old, new)
    blocks = tuple(GrownBlock(**_without_type(block)) for block in content["blocks"])
    return GrowthStep(**(_without_type(content) | {"blocks": blocks}))


def _describe_trained(parts: TrainedParts) -> str:
    names = [f"blocks {', '.join(map(str, parts.blocks))}"] if parts.blocks else []
    names += [name for name in ("head", "embeddings", "norms") if getattr(parts, name)]
    is_all = parts == TrainedParts.all(parts.depth, parts.layers)
    shared = f", in layers that share blocks: {describe_layout(parts.layers)}" if parts.layers else ""
    return f"{'everything' if is_all else ' + '.join(names)}{shared}"


def _without_type(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass in its canonical form, lists as tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name != "type"
    }


def _read_lines(path: Path, tokens: int) -> Iterator[Line]:
    """The lines of a log up to a number of tokens of the run."""
    return (line for _, line in read_log(path) if line["tokens"] <= tokens)

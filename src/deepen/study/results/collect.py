"""results.json: arms with curves and marks, verdicts, and what sharing saved. Read from the store alone."""

import statistics
from itertools import groupby
from typing import Any

from deepen import __version__
from deepen.data.shards import Dataset
from deepen.study.compile.tree import Route, Tree
from deepen.study.define.study import Study
from deepen.study.results.verdicts import judge
from deepen.study.store.study_folder import Store

Result = dict[str, Any]


def collect(study: Study, tree: Tree, store: Store, dataset: Dataset, machine: str, wall_seconds: float) -> Result:
    """The results of a study as far as it is trained: an arm shows the marks that are done."""
    arms = [
        _arm_result(study, store, list(routes))
        for _, routes in groupby(tree.routes, key=lambda route: (route.arm.name, route.seed))
    ]
    verdicts, noise = judge(arms, study.baseline)
    done = [node for node in tree.nodes.values() if store.segment(node.key).done is not None]
    longest = max(route.mark.schedule.tokens for route in tree.routes)
    return {
        "study": study.name,
        "baseline": study.baseline,
        "deepen_version": __version__,
        "regime": _regime(study, dataset, longest, machine, wall_seconds),
        "noise": {
            "baseline_seed_std": noise.baseline_std,
            "residual_std": noise.residual_std,
            "degrees_of_freedom": noise.degrees_of_freedom,
        },
        "arms": arms,
        "verdicts": verdicts,
        "sharing": {
            "tokens_trained": sum(node.segment.end - node.segment.start for node in done),
            "tokens_if_separate": sum(
                route.mark.schedule.tokens
                for route in tree.routes
                if store.segment(route.keys[-1]).done is not None
            ),
        },
    }


def _arm_result(study: Study, store: Store, routes: list[Route]) -> Result:
    """One arm with one seed: its curve along the longest route that is done, and every mark that is done."""
    arm, seed = routes[0].arm, routes[0].seed
    finished = [route for route in routes if store.segment(route.keys[-1]).done is not None]
    longest = max(finished, key=lambda route: route.mark.schedule.tokens, default=None)
    return {
        "name": arm.name,
        "recipe": arm.recipe,
        "options": dict(arm.options),
        "seed": seed,
        "segments": list(longest.keys) if longest else [],
        "curve": _curve(study, store, longest) if longest else [],
        "marks": [_mark(study, store, route) for route in finished],
        "tasks": _tasks(store, longest) if longest else [],
        "peak_memory_bytes": max(
            (
                done["peak_memory_bytes"]
                for route in finished
                for key in route.keys
                if (done := store.segment(key).done)
            ),
            default=0,
        ),
    }


def _lines(store: Store, route: Route, log: str) -> list[Result]:
    """The lines of a log along a route, each point of the run once."""
    by_point = {}
    for key in route.keys:
        for line in store.segment(key).lines(log):
            if line["tokens"] <= route.mark.schedule.tokens:
                by_point[line["tokens"], line.get("task")] = line
    return [by_point[point] for point in sorted(by_point, key=lambda point: point[0])]


def _curve(study: Study, store: Store, route: Route) -> list[Result]:
    """A point for each validation: the training loss is the mean over the steps since the last one."""
    metrics = _lines(store, route, "metrics")
    points, first = [], 0
    for line in _lines(store, route, "evals"):
        if line["task"] != "validation":
            continue
        since = [m for m in metrics if first < m["tokens"] <= line["tokens"]]
        first = line["tokens"]
        depth, label = _phase_at(route, line["tokens"])
        points.append({
            **{key: line[key] for key in ("tokens", "step", "flops", "seconds")},
            "depth": depth,
            "phase": label,
            "train_loss": statistics.fmean(m["loss"] for m in since),
            "val_loss": line["value"],
        })  # fmt: skip
    return points


def _phase_at(route: Route, tokens: int) -> tuple[int, str]:
    """Depth and label, in the arm's own words, of the step that ended at so many tokens."""
    end = 0
    for phase in route.mark.schedule.phases:
        end += phase.tokens
        if tokens <= end:
            break
    return phase.depth, phase.label


def _mark(study: Study, store: Store, route: Route) -> Result:
    tokens = route.mark.schedule.tokens
    at_end = {
        line["task"]: line for line in store.segment(route.keys[-1]).lines("evals") if line["tokens"] == tokens
    }
    validation = at_end.pop("validation")
    window = tokens - study.evaluation.every_tokens
    losses = [m["loss"] for m in _lines(store, route, "metrics") if m["tokens"] > window]
    kept = ("value", "n", "stderr", "correct")
    return {
        "accounting": route.mark.accounting,
        "budget_share": route.mark.budget_share,
        "budget_flops": route.mark.budget_flops,
        **{key: validation[key] for key in ("tokens", "step", "flops", "seconds")},
        "val_loss": validation["value"],
        "train_loss": statistics.fmean(losses),
        "annealed": study.lr.annealed,
        "tasks": {task: {key: line[key] for key in kept} for task, line in at_end.items()},
    }


def _tasks(store: Store, route: Route) -> list[Result]:
    kept = ("task", "tokens", "step", "flops", "seconds", "value", "n", "stderr")
    return [
        {key: line[key] for key in kept} for line in _lines(store, route, "evals") if line["task"] != "validation"
    ]


def _regime(study: Study, dataset: Dataset, longest: int, machine: str, wall_seconds: float) -> Result:
    """What kind of comparison this was: size, tokens per parameter, repetition of data, settings."""
    model = study.model
    train_tokens = len(dataset.tokens("train"))
    return {
        "model": model.name,
        "depth": model.depth,
        "width": model.width,
        "parameters": model.parameters,
        "parameters_non_embedding": model.parameters_non_embedding,
        "context": study.context,
        "vocab": model.vocab,
        "baseline_tokens": study.baseline_tokens,
        "tokens_per_parameter": study.baseline_tokens / model.parameters_non_embedding,
        "rate": type(study.lr).__name__.lower(),
        "peak_lr": study.lr.peak,
        "precision": study.settings.precision,
        "batch_tokens": study.batch_tokens,
        "seeds": list(study.seeds),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "train_tokens": train_tokens,
            "validation_tokens": min(study.evaluation.validation_tokens, len(dataset.tokens("validation")) - 1),
            "epochs": longest / train_tokens,
        },
        "attention_flops": "dense",
        "machine": machine,
        "wall_seconds": wall_seconds,
    }

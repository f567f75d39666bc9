"""Train one segment of a study, in whatever process: from its parent's state to its own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from deepen.data.shards import Dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import TASK_BATCH_TOKENS, CompletionScorer
from deepen.evaluate.validation import VALIDATION_BATCH_TOKENS, validation_loss
from deepen.model.config import ModelConfig
from deepen.study.compile.tree import Node
from deepen.study.define.study import Evaluation
from deepen.study.store.retention import final_state_problem
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store, warn
from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.checkpoint.state_files import StateError
from deepen.train.device import peak_memory_bytes, pick_device, reset_peak_memory
from deepen.train.distributed.leader import begin_engine
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.engine import TrainingEngine
from deepen.train.errors import TrainingError
from deepen.train.health.spikes import WINDOW
from deepen.train.segment import begin_segment
from deepen.train.settings import TrainSettings
from deepen.train.state import Progress, TrainState, initial_state

SAVE_EVERY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """All a process needs to train one segment."""

    node: Node
    folder: Path
    model: ModelConfig
    settings: TrainSettings
    evaluation: Evaluation
    dataset: Dataset
    window: int


def train_segment(
    job: Job, stop: Callable[[], bool], check: Callable[[], None] = lambda: None, world: World = ONE_PROCESS
) -> bool:
    """Train a segment, going on from what is there; returns whether it was finished rather than stopped.

    Args:
        stop: asked after each step.
        check: called before each write; it raises where another process took the segment over.
        world: the processes that train it together; this one leads.
    """
    store, node, segment = Store(job.folder), job.node, job.node.segment
    own, device = store.segment(node.key, check), pick_device()
    kept = _own_state(own, job)
    own.open(node, anew=kept is None)
    state = begin_segment(kept or _first_state(store, job), segment, job.model)
    own.truncate_logs(state.progress)

    reset_peak_memory(device)
    engine = begin_engine(
        state,
        segment,
        model=job.model,
        settings=job.settings,
        dataset=job.dataset,
        window=job.window,
        world=world,
        device=device,
    )
    if state.progress.step == 0:
        engine.check_initialization()
    metrics: list[dict[str, Any]] = []
    saved, save_at = engine.progress.tokens, time.monotonic() + SAVE_EVERY_SECONDS
    due = {point.tokens: point.what for point in node.evaluations}
    evaluated = {line["tokens"] for line in own.lines("evals")}

    def save_is_due() -> bool:
        return engine.progress.tokens > saved and time.monotonic() > save_at

    def leave_loop() -> bool:
        return stop() or save_is_due()

    with BackgroundSaver(own.save) as saver:  # leaving it waits for the save in progress
        while True:
            try:
                engine.run(_next_stop(engine.progress.tokens, node), _logger(metrics, job), leave_loop)
            except TrainingError:  # the step was not taken: what came before it is good
                own.append("metrics", metrics)
                if engine.progress.tokens > segment.start:
                    saver.save(engine.state(), own.log_sizes())
                raise
            own.append("metrics", metrics)
            metrics.clear()
            tokens = engine.progress.tokens
            if tokens in due and tokens not in evaluated:
                own.append("evals", [_evaluate(what, engine, job, device, world) for what in due[tokens]])
                evaluated.add(tokens)  # a save may fall due before the next step and bring us here again
            if tokens == segment.end:
                saver.wait()
                own.finish(engine.state(), peak_memory_bytes(device))
                return True
            if stop():
                if tokens > segment.start:
                    saver.save(engine.state(), own.log_sizes())
                return False
            if save_is_due():
                saver.save(engine.state(), own.log_sizes())
                saved, save_at = tokens, time.monotonic() + SAVE_EVERY_SECONDS


def _own_state(own: SegmentFolder, job: Job) -> TrainState | None:
    """The segment's own state where it was begun before, None where it has to begin anew.

    A state that is damaged, or whose logs are, is never gone on from; that costs the segment's beginning.
    """
    if not own.has_state:
        return None
    problems = own.damaged_logs()
    try:
        state = own.state()
        if not problems and state.progress.tokens > job.node.segment.start:
            return state
    except StateError as error:
        problems = [str(error)]
        own.drop_state()
    for problem in problems:
        warn(f"{problem}; going on from the segment's beginning")
    return None


def _first_state(store: Store, job: Job) -> TrainState:
    """The state that the segment starts from: its parent's last, or a fresh one.

    Raises:
        StateError: the parent's is damaged; the next run finds that out at its beginning and trains it again.
    """
    node = job.node
    if node.parent is None:
        return initial_state(job.model, node.segment.depth, node.seed)
    parent = store.segment(node.parent)
    if problem := final_state_problem(parent):
        raise StateError(problem)
    return parent.state()


def _next_stop(tokens: int, node: Node) -> int:
    """The nearest point ahead at which something is evaluated, or the segment's end."""
    return min((point.tokens for point in node.evaluations if point.tokens > tokens), default=node.segment.end)


def _evaluate(task: str, engine: TrainingEngine, job: Job, device: torch.device, world: World) -> dict[str, Any]:
    """One line of evals.jsonl."""
    progress = engine.progress
    line: dict[str, Any] = {
        "tokens": progress.tokens,
        "step": progress.step,
        "flops": progress.flops,
        "seconds": progress.seconds,
        "task": task,
    }
    if task == "validation":
        score = validation_loss(
            engine,
            _tokens(job.dataset, "validation"),
            job.evaluation.validation_tokens,
            job.window,
            device=device,
            batch_tokens=VALIDATION_BATCH_TOKENS[device.type] * world.size,
        )
    else:
        scorer = CompletionScorer(
            model=engine,
            context=job.window,
            device=device,
            batch_tokens=TASK_BATCH_TOKENS[device.type] * world.size,
        )
        score = get_task(task).score(scorer, _examples(task, job.evaluation.path(task), job.dataset))
    return line | {"split": "validation"} | score.to_json()


def _logger(metrics: list[dict[str, Any]], job: Job) -> Callable[[Progress, dict[str, float]], None]:
    segment = job.node.segment

    def log(progress: Progress, measured: dict[str, float]) -> None:
        if "spike" in measured:
            done = (
                "its update was skipped" if "skipped" in measured else "--on-spike skip or stop would not take it"
            )
            warn(
                f"loss {measured['loss']:.4f} is a spike at step {progress.step} ({progress.tokens:,} tokens, "
                f"{segment.label}, seed {job.node.seed}), {measured['spike']:.1f} deviations above the median "
                f"of the last {WINDOW}; {done}; logged in {Store(job.folder).segment(job.node.key).folder}"
            )
        metrics.append({
            "step": progress.step,
            "tokens": progress.tokens,
            **measured,
            "flops": progress.flops,
            "seconds": progress.seconds,
            "depth": segment.depth,
            "phase": segment.label,
        })  # fmt: skip

    return log


@lru_cache(maxsize=4)
def _tokens(dataset: Dataset, split: str) -> Any:
    return dataset.tokens(split)


@lru_cache(maxsize=2)
def _examples(task: str, path: Path, dataset: Dataset) -> Sequence[Any]:
    return get_task(task).load(path, load_tokenizer(dataset.folder))

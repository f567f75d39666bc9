"""Train one segment of a study in any process, from its parent's final state to its own.

The loop trains up to the next evaluation point, or until a state should be saved. Everything between steps (logs,
evaluations, saves) happens here; the engine only trains.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from deepen.study.compile.tree import Node
from deepen.study.run.evaluation import EvaluationStopped, evaluate, load_inputs
from deepen.study.run.job import Job
from deepen.study.run.start import open_start, warn_if_chance
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.checkpoint.state_check import StateError
from deepen.train.device import machine_name, peak_memory_bytes, pick_device, reset_peak_memory
from deepen.train.distributed.leader import begin_engine
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.engine import TrainingEngine
from deepen.train.errors import TrainingError
from deepen.train.health.spikes import WINDOW
from deepen.train.progress import Progress
from deepen.train.state import TrainState, fresh_state

_log = logging.getLogger(__name__)

SAVE_EVERY_SECONDS = 60.0

LOG_EVERY_SECONDS = 2.0
"""Longest time that lines of metrics.jsonl are kept in memory while steps are trained."""


def train_segment(
    job: Job,
    should_stop: Callable[[], bool],
    check_owner: Callable[[], None] = lambda: None,
    world: World = ONE_PROCESS,
) -> bool:
    """Train a segment, continuing from its own state where it has one.

    Args:
        job: the segment.
        should_stop: called after each step; if it returns true, the state is saved and training stops.
        check_owner: called before each write; raises if another process has taken the segment over.
        world: the processes that train the segment together, led by this one.

    Returns:
        Whether the segment was finished, not stopped.
    """
    node, segment, device = job.node, job.node.segment, pick_device()
    folder = Store(job.folder).segment(node.key, check_owner)
    load_inputs(job)
    engine = _begin(job, folder, world, device)
    reset_peak_memory(device)  # what was checked before the first step does not count
    due = {point.tokens: point.tasks for point in node.evaluations}
    evaluated = {(line["tokens"], line.get("task")) for line in folder.lines("evals")}
    step_log = _StepLog(folder, job)

    with BackgroundSaver(folder.save) as saver:  # its end waits for the save in progress
        timer = _SaveTimer(engine.progress.tokens)

        def missing(tokens: int) -> list[str]:
            return [task for task in due.get(tokens, ()) if (tokens, task) not in evaluated]

        def save() -> None:
            if engine.progress.tokens > segment.start:  # before, it is the parent's state
                saver.wait()  # so that no two copies are in memory; of processes, each keeps only its newest
                saver.save(engine.state(), folder.log_sizes())

        while True:
            tokens = engine.progress.tokens
            try:
                engine.run(
                    tokens if missing(tokens) else _next_stop(node, tokens),  # stopped in mid-evaluation before
                    step_log,
                    lambda: should_stop() or timer.is_due(engine.progress.tokens),
                )
            except TrainingError:  # its step was not taken, so the state before it is good
                step_log.flush()
                save()
                raise
            step_log.flush()
            tokens = engine.progress.tokens
            if tasks := missing(tokens):
                try:
                    scores = evaluate(tasks, engine, job, should_stop, device=device, processes=world.size)
                except EvaluationStopped:
                    save()
                    return False
                folder.append("evals", scores)
                evaluated.update((tokens, task) for task in tasks)  # a save can return here without a step
            if tokens == segment.end:
                saver.wait()
                folder.finish(engine.state(), peak_memory_bytes(device), machine_name(), engine.micro_batch_tokens)
                return True
            if should_stop():
                save()
                return False
            if timer.is_due(tokens):
                save()
                timer.restart(tokens)


def _begin(job: Job, folder: SegmentFolder, world: World, device: torch.device) -> TrainingEngine:
    """The engine of the segment at its newest state, which is not kept in memory."""
    state = _load_own_state(folder, job.node)
    folder.open(job.node, from_start=state is None)
    if state is None:
        state = _first_state(job)
    state = begin_segment(state, job.node.segment, job.model)
    if world.shards == 1:  # else each process reads its share
        state = state.load()
    folder.truncate_logs(state.progress)
    engine = begin_engine(
        state,
        job.node.segment,
        model=job.model,
        settings=job.settings,
        dataset=job.dataset,
        window=job.window,
        first_token=job.first_token,
        world=world,
        device=device,
    )
    if state.progress.step == 0:
        if job.start is None:
            engine.check_initialization()
        else:
            vocab, window = job.model.vocab, job.window
            warn_if_chance(job.start, engine, job.dataset, vocab=vocab, window=window, device=device)
    return engine


class _SaveTimer:
    """Decides when to save: SAVE_EVERY_SECONDS after the last save, if there was a step since."""

    def __init__(self, tokens: int) -> None:
        self.restart(tokens)

    def restart(self, tokens: int) -> None:
        """Restart the timer after the state at `tokens` was saved."""
        self._saved_tokens, self._save_at = tokens, time.monotonic() + SAVE_EVERY_SECONDS

    def is_due(self, tokens: int) -> bool:
        """Whether the state at `tokens` should be saved now."""
        return tokens > self._saved_tokens and time.monotonic() > self._save_at


def _load_own_state(folder: SegmentFolder, node: Node) -> TrainState | None:
    """The segment's own state, not read yet; None if the segment must be trained from its start.

    Training never continues from a damaged state or with damaged logs.
    """
    if not folder.has_state:
        return None
    problems = folder.log_problems()
    try:
        state = folder.open_state()
        if not problems and state.progress.tokens > node.segment.start:
            return state
    except StateError as error:
        problems = [str(error)]
        folder.remove_state()
    for problem in problems:
        _log.warning("%s; continuing from the segment's start", problem)
    return None


def _first_state(job: Job) -> TrainState:
    """The state that the segment starts from, unread: its parent's final state, a checkpoint, or a new model.

    Raises:
        StateError: the parent's state is damaged; the next run repairs this first and trains the parent again.
    """
    node = job.node
    if node.parent is None and job.start is not None:
        return open_start(job.start, node.seed)
    if node.parent is None:
        return fresh_state(job.model, node.segment.depth, node.seed)
    parent = Store(job.folder).segment(node.parent)
    if problem := parent.final_state_problem():
        raise StateError(problem)
    return parent.open_state()


def _next_stop(node: Node, tokens: int) -> int:
    """The next evaluation point after `tokens`, or the segment's end."""
    return min((point.tokens for point in node.evaluations if point.tokens > tokens), default=node.segment.end)


class _StepLog:
    """Collects the lines of metrics.jsonl, appends them every few seconds, and warns about spikes."""

    def __init__(self, folder: SegmentFolder, job: Job) -> None:
        self._folder, self._job = folder, job
        self._lines: list[dict[str, Any]] = []
        self._flush_at = 0.0  # the first line is appended at once

    def __call__(self, progress: Progress, measured: dict[str, float]) -> None:
        """Log a step; see `deepen.train.engine.Log`."""
        if "spike" in measured:
            _warn_of_spike(progress, measured, self._job)
        segment = self._job.node.segment
        self._lines.append({
            "step": progress.step,
            "tokens": progress.tokens,
            **measured,
            "flops": progress.flops,
            "seconds": progress.seconds,
            "depth": segment.layers,
            "phase": segment.label,
        })  # fmt: skip
        if time.monotonic() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Append the collected lines to metrics.jsonl."""
        self._folder.append("metrics", self._lines)
        self._lines.clear()
        self._flush_at = time.monotonic() + LOG_EVERY_SECONDS


def _warn_of_spike(progress: Progress, measured: dict[str, float], job: Job) -> None:
    remedy = "its update was skipped" if "skipped" in measured else "on_spike skip or stop would not take it"
    _log.warning(
        f"loss {measured['loss']:.4f} is a spike at step {progress.step} ({progress.tokens:,} tokens, "
        f"{job.node.segment.label}, seed {job.node.seed}), {measured['spike']:.1f} deviations above the median of "
        f"the last {WINDOW}; {remedy}; logged in {Store(job.folder).segment(job.node.key).folder}"
    )

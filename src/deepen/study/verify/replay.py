"""Train a segment of a study again, in memory: the lines that its logs would have."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from deepen.study.run.evaluation import evaluate
from deepen.study.run.job import Job
from deepen.study.store.log_lines import Line
from deepen.train.begin import begin_segment
from deepen.train.device import pick_device
from deepen.train.distributed.leader import begin_engine
from deepen.train.progress import Progress
from deepen.train.state import TrainState

_MOVES = {"fp32": 2.0**-23, "bf16": 2.0**-16}
"""By which share of itself each weight is moved, by precision: about a rounding error in the products."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A segment that was trained again.

    Attributes:
        steps: as the lines of metrics.jsonl.
        evaluations: as those of evals.jsonl.
        state: the state at its end.
    """

    steps: list[Line]
    evaluations: list[Line]
    state: TrainState


def replay(
    job: Job,
    state: TrainState,
    *,
    until: int,
    evaluates: bool = True,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Replay:
    """Train a segment from the state before it.

    Args:
        job: the segment.
        state: the final state of its parent, or the first state of a run.
        until: where to stop, in tokens of the run.
        evaluates: whether to evaluate where the segment did.
        on_step: called after each step; an error that it raises ends the training.
    """
    segment, device = job.node.segment, pick_device()
    engine = begin_engine(
        begin_segment(state, segment, job.model),
        segment,
        model=job.model,
        settings=job.settings,
        dataset=job.dataset,
        window=job.window,
        first_token=job.first_token,
        device=device,
    )
    steps: list[Line] = []
    evaluations: list[Line] = []

    def log(progress: Progress, measured: dict[str, float]) -> None:
        steps.append({"step": progress.step, "tokens": progress.tokens, **measured, "flops": progress.flops})
        on_step(progress)

    for point in job.node.evaluations:
        if evaluates and point.tokens <= until:
            engine.run(point.tokens, log)
            evaluations += evaluate(point.tasks, engine, job, lambda: False, device=device)
    engine.run(until, log)
    return Replay(steps=steps, evaluations=evaluations, state=engine.state())


def move_by_rounding(state: TrainState, precision: str) -> TrainState:
    """The state with each weight moved up or down by about a rounding error; the same weights each time."""
    generator = torch.Generator().manual_seed(0)
    share = _MOVES[precision]

    def move(weight: torch.Tensor) -> torch.Tensor:
        signs = torch.randint(0, 2, weight.shape, generator=generator, dtype=weight.dtype) * 2 - 1
        return weight * (1 + share * signs)

    return replace(state, weights={name: move(weight) for name, weight in state.weights.items()})

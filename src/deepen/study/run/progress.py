"""How far a run is: the values that `deepen.run(..., on_progress=...)` reports about once a second.

    def show(progress):
        if isinstance(progress, StudyProgress):
            print(f"{100 * progress.share:.1f} %, {len(progress.running)} segments in training")

    deepen.run(study, folder, on_progress=show)

Showing progress cannot end training: an error of `show` is logged once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from deepen.data.shards import OnPreparation

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentProgress:
    """A segment that was given to a worker.

    Attributes:
        key: the segment's key.
        arms: names of the arms that contain the segment.
        seed: its seed.
        depth: layers that the model executes.
        label: the label of its phase.
        step: steps of this segment that are done.
        steps: steps of this segment in all.
        loss: training loss of the last step, in nats; None before the first step.
        tokens_per_second: speed of the last steps; None before it can be measured.
        is_evaluating: whether the model is being evaluated, so that no step is trained.
    """

    key: str
    arms: tuple[str, ...]
    seed: int
    depth: int
    label: str
    step: int
    steps: int
    loss: float | None = None
    tokens_per_second: float | None = None
    is_evaluating: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyProgress:
    """How much of a study is trained.

    Attributes:
        flops: FLOPs trained so far, including earlier calls and the finished steps of running segments.
        flops_total: FLOPs of the whole study.
        runs_done: runs that are finished; a run is one arm with one seed, up to its last mark.
        runs_total: all runs.
        running: the segments that workers have.
    """

    flops: int
    flops_total: int
    runs_done: int
    runs_total: int
    running: tuple[SegmentProgress, ...] = ()

    @property
    def share(self) -> float:
        """The share of the FLOPs that are trained, from 0 to 1."""
        return self.flops / self.flops_total


@dataclass(frozen=True, slots=True)
class Preparation:
    """Work before or after training.

    Attributes:
        what: the work, such as "tokenizing sotu".
        share: the share that is done, from 0 to 1; None if it is unknown.
        detail: how much that is, and how fast, such as "1.2M tokens (640k/s)"; empty to show the work instead.
    """

    what: str
    share: float | None = None
    detail: str = ""


OnProgress = Callable[[StudyProgress | Preparation], None]
"""Receives progress, about once a second; during training, from another thread than the one that called `run`."""


def as_preparation(on_progress: OnProgress) -> OnPreparation:
    """A function that receives work and its share that is done, and reports them as a `Preparation`."""
    return lambda what, share: on_progress(Preparation(what, share))


def ignore_progress(progress: StudyProgress | Preparation) -> None:
    """Report nothing."""


def contain_errors(on_progress: OnProgress) -> OnProgress:
    """A function whose errors are logged, the first only, so that showing progress cannot end training."""
    failed = False

    def report(progress: StudyProgress | Preparation) -> None:
        nonlocal failed
        try:
            on_progress(progress)
        except Exception as error:
            if not failed:
                _log.warning("on_progress failed (%s: %s); training continues", type(error).__name__, error)
            failed = True

    return report

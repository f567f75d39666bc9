"""A study's results as typed values: what the page and the figures show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepen.schedule.recipes import RECIPES

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Band:
    """A value over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One evaluation of an arm, seeds averaged; losses in nats per token."""

    tokens: float
    flops: float
    seconds: float
    step: float | None
    val: Band | None
    train: Band | None
    depth: int | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Point):
    """An arm at a given budget; `share` is the budget over the baseline's compute."""

    accounting: str
    share: float | None
    annealed: bool
    n_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPoint:
    """A task's accuracy (a share) at a step; `stderr` is over the examples, the mean of the seeds' own."""

    step: float
    value: float
    stderr: float | None
    n: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All seeds of one way of training."""

    name: str
    recipe: str
    colour: str
    dash: str
    is_baseline: bool
    seeds: tuple[int, ...]
    curve: tuple[Point, ...]
    marks: tuple[Mark, ...]
    tasks: Mapping[str, tuple[TaskPoint, ...]]
    peak_memory_bytes: float | None

    @property
    def is_control(self) -> bool:
        """Is the arm there to isolate a cause rather than to win?"""
        return self.recipe in RECIPES and RECIPES[self.recipe].is_control

    def at_equal_compute(self) -> Mark | None:
        """The mark at the baseline's own budget in exact FLOPs."""
        return next((m for m in self.marks if m.accounting == "flops" and is_whole_budget(m)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An arm against the baseline under one accounting; `difference` is arm minus baseline, in nats."""

    arm: str
    accounting: str
    n_seeds: int
    loss: float | None
    difference: float | None
    interval: tuple[float, float] | None
    multiplier: float | None
    multiplier_interval: tuple[float, float] | None
    multiplier_bound: str | None
    multiplier_interval_bounds: tuple[str | None, str | None]
    tokens: float | None
    seconds: float | None
    peak_memory_bytes: float | None
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything the page and the figures show."""

    name: str
    baseline: str
    version: str
    regime: Json
    noise: Json
    arms: tuple[Arm, ...]
    verdicts: tuple[Verdict, ...]
    sharing: Json

    def arm(self, name: str) -> Arm | None:
        """The arm of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @property
    def baseline_arm(self) -> Arm | None:
        """The baseline, if it has run at all."""
        return next((arm for arm in self.arms if arm.is_baseline), None)

    @property
    def baseline_mark(self) -> Mark | None:
        """The baseline at its own budget."""
        return self.baseline_arm.at_equal_compute() if self.baseline_arm else None

    @property
    def noise_floor(self) -> float | None:
        """Standard deviation of the baseline's loss over seeds, nats per token."""
        return number(self.noise.get("baseline_seed_std"))

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks any arm was evaluated on, in file order."""
        return tuple(dict.fromkeys(task for arm in self.arms for task in arm.tasks))


def is_whole_budget(mark: Mark) -> bool:
    """Is the mark's budget the baseline's whole budget?"""
    return mark.share is None or abs(mark.share - 1) < 0.005


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def text(value: object, longest: int = 60) -> str:
    """One line of printable characters, at most `longest` of them."""
    # Line breaks, controls and marks that reverse the direction of text become spaces.
    line = "".join(c if c.isprintable() else " " for c in value).strip() if isinstance(value, str) else ""
    return line if len(line) <= longest else line[: longest - 1] + "…"


def table(value: object) -> Json:
    """A JSON object, or an empty one."""
    return value if isinstance(value, Mapping) else {}

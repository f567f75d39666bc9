"""Plateaus: a phase may end early, where its training loss no longer falls fast enough.

A phase with a `Plateau` has its *latest* length as `tokens`. While it is trained, its losses are looked at from
time to time. At each check, a line is fitted to the losses of the last part of the run, by least squares, against
the logarithm of the tokens. The phase ends at the check where the fitted loss has fallen more slowly than `slope`
for `patience` checks in a row; otherwise it ends at its latest end.

    plateau = Plateau(slope=0.2, check_tokens=1000, earliest=4000)
    checks = plateau.checks(begin=0, latest=20_000, batch_tokens=100)  # (4000, 5000, ..., 19000)
    decide(plateau, checks, begin=0, lines=metrics)
    # 9000: at 8000 and at 9000 tokens, the loss fell by less than 0.2 nats per e-fold of tokens

The slope has the unit nats per e-fold: how much the loss falls while the tokens grow by the factor e. At a
constant rate the loss is close to a straight line in the logarithm of the tokens, so one threshold fits short and
long runs, and the window has the same share of the tokens at each check. The decision depends on nothing but the
losses and these numbers.

Source: growing where the slope of the loss over the logarithm of compute falls below a constant follows Shen et
al. 2022 (Staged Training, arXiv 2203.06211, section 4); patience is that of schedulers that lower the rate on a
plateau.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import Any

from deepen.errors import InvalidValueError, is_number, is_whole
from deepen.schedule.grid import round_up_to_steps

MIN_STEPS = 8
"""Steps that a window must have at least; the slope through fewer losses is mostly noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plateau:
    """When a phase ends before its latest end.

    Attributes:
        slope: nats per e-fold of tokens. A check at which the loss falls more slowly counts.
        check_tokens: tokens between two checks, rounded up to whole steps.
        earliest: tokens of the phase before the first check, rounded up to whole steps.
        window: share of the run's tokens over which the slope is fitted: at 1,000 tokens and 0.25, the last 250. A
            check counts only if its window begins within the phase.
        patience: checks in a row that must count.
    """

    slope: float
    check_tokens: int
    earliest: int = 0
    window: float = 0.25
    patience: int = 2

    def __post_init__(self) -> None:
        for name, is_right, use in (
            ("slope", is_number(self.slope) and self.slope > 0, "a number above 0, in nats per e-fold of tokens"),
            ("check_tokens", is_whole(self.check_tokens) and self.check_tokens > 0, "a whole number above 0"),
            ("earliest", is_whole(self.earliest) and self.earliest >= 0, "a whole number of tokens, 0 or more"),
            ("window", is_number(self.window) and 0 < self.window < 1, "a share between 0 and 1"),
            ("patience", is_whole(self.patience) and self.patience > 0, "a whole number above 0"),
        ):
            if not is_right:
                value = getattr(self, name)
                raise InvalidValueError(f"is {value!r}: it must be {use}", field=name, value=value)

    @classmethod
    def within(
        cls, latest: int, *, slope: float, earliest: float = 0.2, checks: int = 20, patience: int = 2
    ) -> "Plateau":
        """A plateau for a phase of `latest` tokens, with shares of these tokens instead of tokens.

        Args:
            latest: tokens of the phase at most.
            slope, patience: as in the class.
            earliest: share of the tokens before the first check, in [0, 1).
            checks: number of checks over all of the tokens.
        """
        if not (is_number(earliest) and 0 <= earliest < 1):
            raise InvalidValueError(
                f"is {earliest!r}",
                field="earliest",
                value=earliest,
                remedy="it is a share of the phase's tokens, at least 0 and below 1",
            )
        if not (is_whole(checks) and checks > 0):
            raise InvalidValueError(
                f"is {checks!r}: it must be a whole number above 0", field="checks", value=checks
            )
        return cls(
            slope=slope,
            check_tokens=max(1, round(latest / checks)),
            earliest=round(latest * earliest),
            patience=patience,
        )

    def checks(self, begin: int, latest: int, batch_tokens: int) -> tuple[int, ...]:
        """Where in the run the losses are looked at: positions between two steps, after `begin`, before `latest`.

        Args:
            begin: tokens of the run at which the phase begins.
            latest: tokens of the run at which it ends at the latest.
            batch_tokens: tokens of a step of the phase.
        """
        spacing = round_up_to_steps(self.check_tokens, batch_tokens) * batch_tokens
        first = round_up_to_steps(max(self.earliest, 1), batch_tokens) * batch_tokens
        return tuple(range(begin + first, latest, spacing))

    def can_count(self, at: int, begin: int, batch_tokens: int) -> bool:
        """Whether the window of a check lies within the phase and has enough steps."""
        return at * (1 - self.window) >= begin and at * self.window >= MIN_STEPS * batch_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """The first phase of a schedule in whole steps that a plateau may end, with positions in tokens of the run.

    Attributes:
        plateau: when the phase ends early.
        label: the phase's label.
        begin: where it begins.
        earliest, latest: where it ends at the earliest and at the latest.
        checks: where the losses are looked at.
    """

    plateau: Plateau
    label: str
    begin: int
    earliest: int
    latest: int
    checks: tuple[int, ...]

    @classmethod
    def place(cls, plateau: Plateau, label: str, *, begin: int, latest: int, batch_tokens: int) -> "Trigger":
        """Place the checks of a plateau in its phase.

        Args:
            plateau: the plateau.
            label: the phase's label.
            begin, latest: tokens of the run at which the phase begins, and at which it ends at the latest.
            batch_tokens: tokens of a step of the phase.

        Raises:
            InvalidValueError: there are too few checks for the plateau ever to end the phase.
        """
        checks = plateau.checks(begin, latest, batch_tokens)
        counted = [at for at in checks if plateau.can_count(at, begin, batch_tokens)]
        if len(counted) < plateau.patience:
            raise InvalidValueError(
                f"the plateau can never end phase {label!r} early: {len(counted)} of its {len(checks)} checks "
                f"before {latest:,} tokens can count, and {plateau.patience} in a row must",
                value=plateau,
                remedy="check earlier, more often or with less patience, or use more tokens; a check counts if "
                f"the last {plateau.window:g} of the run's tokens lies in the phase and has {MIN_STEPS} steps",
            )
        earliest = counted[plateau.patience - 1]
        return cls(plateau=plateau, label=label, begin=begin, earliest=earliest, latest=latest, checks=checks)


def decide(
    plateau: Plateau, checks: Sequence[int], *, begin: int, lines: Iterable[Mapping[str, Any]]
) -> int | None:
    """The check at which a plateau ends its phase, by the losses so far; None if there is none yet.

    Args:
        plateau: the plateau.
        checks: its checks, as far as the phase is trained.
        begin: tokens of the run at which the phase begins.
        lines: a line per step in order, with its `tokens` and its `loss`, as metrics.jsonl has them.
    """
    losses = [(line["tokens"], line["loss"]) for line in lines if line["tokens"] > begin]
    in_a_row = 0
    for at in checks:
        slope = fit_slope(plateau, at, begin=begin, losses=losses)
        in_a_row = in_a_row + 1 if slope is not None and -slope < plateau.slope else 0
        if in_a_row == plateau.patience:
            return at
    return None


def fit_slope(plateau: Plateau, at: int, *, begin: int, losses: Sequence[tuple[int, float]]) -> float | None:
    """The slope of the loss at a check, in nats per e-fold of tokens, negative where it falls.

    Args:
        plateau: the plateau.
        at: the check.
        begin: tokens of the run at which the phase begins.
        losses: tokens and loss of every step; one that is not finite was not taken, and is left out.

    Returns:
        None if the window does not lie within the phase, or has too few losses.
    """
    start = at * (1 - plateau.window)
    window = [(tokens, loss) for tokens, loss in losses if start < tokens <= at and math.isfinite(loss)]
    if start < begin or len(window) < MIN_STEPS:
        return None
    return linear_regression([math.log(tokens) for tokens, _ in window], [loss for _, loss in window]).slope

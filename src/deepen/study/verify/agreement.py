"""Whether the losses of a segment that was trained again agree with the recorded ones. Needs no torch.

On the kind of machine that trained a study, every number must be equal to the bit. Elsewhere numbers are rounded
differently, and training amplifies the difference. By how much is measured: the segment is trained a second time
from weights that are moved by about one rounding error. The recorded losses may differ by `ALLOWED_FACTOR` times
the distance between these two trainings, some steps later, and by the rounding of one evaluation:

    step   again     moved     allowed                              recorded
    1      6.84630   6.84630   0.00007 = 1e-5 * 6.85                6.84631: agrees
    200    5.11240   5.11233   0.00075 = 10 * 0.00007 + 0.00005     5.11931: differs

Learning rates, tokens and FLOPs are the same on every machine.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from math import inf, isfinite, sqrt
from statistics import fmean

from deepen.evaluate.task import MARK_VALIDATION, VALIDATION
from deepen.study.store.log_lines import Line

ALLOWED_FACTOR = 10.0
"""Other kernels round every step differently, the moved weights differ in the first only: so a multiple."""

LOOK_AHEAD = 5
"""Rounding can grow from 1e-6 to 0.03 nats within 20 steps, and does so a few steps apart in two trainings: so the
distance is that of so many steps later."""

ROUNDING = {"fp32": 1e-5, "bf16": 2e-4}
"""By how much the losses of the same weights may differ between machines, as a share of the loss, by precision. On
nano, batches added in other parts differ by 1e-7, and bf16 differs from fp32 by 5e-5."""

TELLING_SHARE = 1 / 3
"""Rounding hides another training where it may move a loss by this share of the scatter between batches."""

_LOSS_NAMES = {VALIDATION: "validation loss", MARK_VALIDATION: "validation loss at the mark"}


class Agreement(StrEnum):
    """Whether losses that were trained again agree with the recorded ones."""

    BIT_FOR_BIT = "bit for bit"
    WITHIN_ROUNDING = "within rounding"
    DIFFERS = "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantityComparison:
    """The comparison of one quantity along a segment.

    Attributes:
        what: the quantity, such as "training loss".
        agreement: whether all its values agree.
        compared: the number of values.
        largest: the largest difference, in the quantity's unit; infinite where a value is missing or not finite
            on one side only.
        allowed: the difference that rounding allows there.
        differs_at: the tokens of the first value that does not agree; None if all agree.
    """

    what: str
    agreement: Agreement
    compared: int
    largest: float
    allowed: float
    differs_at: int | None


@dataclass(frozen=True, slots=True)
class Allowance:
    """By how much losses may differ because of rounding.

    Attributes:
        tokens: tokens of the run after each step.
        drift: the largest distance in nats, up to `LOOK_AHEAD` steps after that step, of two trainings that differ
            by a rounding error.
        share: the rounding of one evaluation, as a share of the loss.
    """

    tokens: tuple[int, ...] = ()
    drift: tuple[float, ...] = ()
    share: float = 0.0

    @classmethod
    def measure(cls, again: Sequence[Line], moved: Sequence[Line], precision: str) -> "Allowance":
        """The allowance that two trainings of the same steps show."""
        distances = [_distance(a["loss"], b["loss"]) for a, b in zip(again, moved, strict=True)]
        largest = list(accumulate(distances, max))
        ahead = (*largest[LOOK_AHEAD:], *(largest[-1:] * LOOK_AHEAD))
        tokens = tuple(line["tokens"] for line in again)
        return cls(tokens, ahead[: len(tokens)], ROUNDING[precision])

    def at(self, tokens: int, loss: float) -> float:
        """The allowed difference of a loss after `tokens` tokens, in nats."""
        steps = bisect_right(self.tokens, tokens)
        drift = self.drift[steps - 1] if steps else 0.0
        return ALLOWED_FACTOR * drift + (self.share * abs(loss) if isfinite(loss) else 0.0)


NO_ALLOWANCE = Allowance()
"""Every number must be equal to the bit."""


def compare_steps(
    recorded: Sequence[Line], again: Sequence[Line], allowance: Allowance = NO_ALLOWANCE
) -> tuple[QuantityComparison, ...]:
    """Compare the lines of metrics.jsonl: rates, FLOPs, losses, and gradient norms where all must be equal.

    Args:
        recorded: the lines of the study.
        again: those of the same steps, trained again.
        allowance: by how much the losses may differ.
    """
    old, new = ({line["tokens"]: line for line in lines} for lines in (recorded, again))

    def compare(what: str, key: str, allowance: Allowance = NO_ALLOWANCE) -> QuantityComparison:
        return _compare(
            what, ((at, old.get(at, {}).get(key), new.get(at, {}).get(key)) for at in old | new), allowance
        )

    norms = () if allowance.tokens else (compare("gradient norm", "grad_norm"),)
    return (
        compare("learning rate", "lr"),
        compare("FLOPs", "flops"),
        compare("training loss", "loss", allowance),
        *norms,
    )  # fmt: skip


def compare_evaluations(
    recorded: Sequence[Line], again: Sequence[Line], allowance: Allowance = NO_ALLOWANCE
) -> tuple[QuantityComparison, ...]:
    """Compare the lines of evals.jsonl: the validation loss, and the tasks' scores where all must be equal.

    Arguments as in `compare_steps`.
    """
    old, new = ({(line["task"], line["tokens"]): line["value"] for line in lines} for lines in (recorded, again))
    tasks = dict.fromkeys(task for task, _ in old | new)
    new_in_this_version = {MARK_VALIDATION} - {task for task, _ in old}  # older versions did not measure it
    return tuple(
        _compare(
            _LOSS_NAMES.get(task, task),
            ((at, old.get((task, at)), new.get((task, at))) for each, at in old | new if each == task),
            allowance,
        )
        for task in tasks
        if (task in _LOSS_NAMES or not allowance.tokens) and task not in new_in_this_version
    )


def count_telling_steps(recorded: Sequence[Line], allowance: Allowance) -> int:
    """The steps, from the first, in which the losses of another training would be noticed.

    They end where rounding may hide it: see `TELLING_SHARE`.
    """
    losses = [line["loss"] for line in recorded if isfinite(line["loss"])]
    if len(losses) < 3:
        return len(recorded)
    scatter = sqrt(fmean((b - a) ** 2 for a, b in pairwise(losses)) / 2)
    hidden = (
        count
        for count, line in enumerate(recorded)
        if allowance.at(line["tokens"], line["loss"]) > TELLING_SHARE * scatter
    )
    return next(hidden, len(recorded))


def _compare(
    what: str, values: Iterable[tuple[int, float | None, float | None]], allowance: Allowance
) -> QuantityComparison:
    """Compare the values of a quantity, each with its tokens: the recorded one, and the one trained again."""
    rows = [(_distance(old, new), allowance.at(tokens, old or 0.0), tokens) for tokens, old, new in values]
    differing = [tokens for distance, allowed, tokens in rows if not distance <= allowed]
    largest, allowed, _ = max(rows, key=lambda row: (row[0] - row[1], row[0]))
    agreement = Agreement.WITHIN_ROUNDING if any(distance for distance, _, _ in rows) else Agreement.BIT_FOR_BIT
    return QuantityComparison(
        what=what,
        agreement=Agreement.DIFFERS if differing else agreement,
        compared=len(rows),
        largest=largest,
        allowed=allowed,
        differs_at=min(differing, default=None),
    )


def _distance(old: float | None, new: float | None) -> float:
    """The distance of two numbers; infinite where one is missing, or not finite and the other another number."""
    if old is None or new is None:
        return inf
    if isfinite(old) and isfinite(new):
        return abs(old - new)
    return 0.0 if str(old) == str(new) else inf

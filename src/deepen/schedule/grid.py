"""The grid of step positions: the only place where tokens are rounded to whole optimizer steps.

Schedules, learning rates and marks are planned in tokens, but training can change only between two steps.
A `StepGrid` holds the positions between the steps of a run, whose steps can change in size:

    grid = StepGrid(stretches=((40, 10), (100, 20)))  # steps of 10 tokens up to 40, then of 20 up to 100
    grid.nearest(26)  # 30, the nearest of 0, 10, 20, 30, 40, 60, 80, 100
    grid.nearest(52)  # 60
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from deepen.errors import InvalidValueError


def round_to_steps(tokens: float, batch_tokens: int) -> int:
    """The number of whole steps nearest to a number of tokens; halves are rounded up."""
    return math.floor(tokens / batch_tokens + 0.5)


def round_down_to_steps(tokens: float, batch_tokens: int) -> int:
    """The largest number of whole steps that fits into a number of tokens."""
    return int(tokens // batch_tokens)


def round_up_to_steps(tokens: int, batch_tokens: int) -> int:
    """The smallest number of whole steps that covers a number of tokens."""
    return -(-tokens // batch_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepGrid:
    """The positions between the steps of a run, in tokens.

    `stretches` are pairs (end position, tokens per step), in order. Beyond the end of the run the grid continues
    with steps of the last size.
    """

    stretches: tuple[tuple[int, int], ...]

    @classmethod
    def even(cls, total: int, batch_tokens: int) -> "StepGrid":
        """The grid of a run of `total` tokens whose steps all have the same size."""
        return cls(stretches=((total, batch_tokens),))

    def __post_init__(self) -> None:
        if not self.stretches:
            raise InvalidValueError("is empty: a run has at least one step", field="stretches", value=())
        for begin, end, size in self._bounds():
            if size < 1 or end <= begin or (end - begin) % size:
                raise InvalidValueError(
                    f"has tokens {begin:,} to {end:,} in steps of {size:,}: they must be whole steps",
                    field="stretches",
                    value=self.stretches,
                )

    @property
    def total(self) -> int:
        """Tokens of the run."""
        return self.stretches[-1][0]

    @property
    def first_step(self) -> int:
        """Tokens of the first step."""
        return self.stretches[0][1]

    def nearest(self, tokens: float) -> int:
        """The position nearest to a number of tokens; halves are rounded up."""
        ends = [end for end, _ in self.stretches]
        index = min(bisect_right(ends, tokens), len(ends) - 1)
        begin = ends[index - 1] if index else 0
        size = self.stretches[index][1]
        return begin + round_to_steps(tokens - begin, size) * size

    def _bounds(self) -> Iterator[tuple[int, int, int]]:
        """Each stretch as (begin, end, size of a step)."""
        for (begin, _), (end, size) in pairwise(((0, 0), *self.stretches)):
            yield begin, end, size

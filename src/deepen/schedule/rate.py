"""Learning rates over a run, as pieces with explicit ends.

A rate does not depend on phases or depth. It makes its pieces on the step grid of a run, so that they begin and
end between two steps. Some pieces (the warm-up, the constant part of WSD) do not depend on the length of the run.
Runs of different lengths share them, and fork where their decays begin.

    WSD(peak=1.0, warmup_tokens=40, decay_share=0.2).pieces(StepGrid.even(1000, 10))
    # linear    0 → 1     up to 40
    # constant  1         from 40
    # linear    1 → 0     from 800 to 1000

To add a rate, write a class that satisfies `Rate` and add it to `RATES`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

from deepen.errors import InvalidValueError
from deepen.schedule.grid import StepGrid


@dataclass(frozen=True, kw_only=True, slots=True)
class RatePiece:
    """The rate between two positions of a run, from `start_lr` to `end_lr`.

    `shape` is "linear", "cosine" or "constant"; a constant piece has no end.
    """

    shape: str
    start: int
    end: int | None
    start_lr: float
    end_lr: float

    @classmethod
    def constant(cls, start: int, lr: float) -> "RatePiece":
        """A constant rate from `start` on."""
        return cls(shape="constant", start=start, end=None, start_lr=lr, end_lr=lr)

    def at(self, tokens: int) -> float:
        """The rate of the step that begins after `tokens` tokens of the run."""
        if self.end is None:
            return self.start_lr
        share = (tokens - self.start) / (self.end - self.start)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start_lr + share * (self.end_lr - self.start_lr)


class Rate(Protocol):
    """A learning rate over a run."""

    @property
    def peak(self) -> float:
        """The highest rate."""
        ...

    @property
    def warmup_tokens(self) -> int:
        """Tokens of linear warm-up."""
        ...

    @property
    def annealed(self) -> bool:
        """Whether the rate decays at the end of the run, so that the final loss can be compared."""
        ...

    @property
    def forks(self) -> bool:
        """Whether runs of different lengths are equal up to their decays, so that one can fork from another."""
        ...

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """The pieces for a run with these step positions, in order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WSD:
    """Warm up, stay constant, then decay linearly to `final_share` of the peak over the last `decay_share`.

    Source: Hu et al. 2024 (MiniCPM, arXiv 2404.06395, section 4); Hägele et al. 2024 (arXiv 2405.18392).
    """

    peak: float = 1e-3
    warmup_tokens: int = 0
    decay_share: float = 0.2
    final_share: float = 0.0
    annealed: ClassVar[bool] = True
    forks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_warmup(self.peak, self.warmup_tokens)
        if not 0 < self.decay_share <= 1:
            raise InvalidValueError(
                f"is {self.decay_share}: it must be in (0, 1]", field="decay_share", value=self.decay_share
            )
        _check_final_share(self.final_share)

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up, a constant piece, and the decay that ends with the run."""
        warmup, warmup_end = _warm_up(self.peak, self.warmup_tokens, grid)
        decay_start = grid.nearest(grid.total * (1 - self.decay_share))
        if decay_start < warmup_end:
            raise InvalidValueError(
                f"is {self.warmup_tokens:,}, but the decay begins at {decay_start:,} tokens, inside the warm-up",
                field="warmup_tokens",
                value=self.warmup_tokens,
            )
        if decay_start >= grid.total:
            raise InvalidValueError(
                f"is {self.decay_share}, too small a share of {grid.total:,} tokens to decay in: use more tokens",
                field="decay_share",
                value=self.decay_share,
            )
        decay = RatePiece(
            shape="linear",
            start=decay_start,
            end=grid.total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, RatePiece.constant(warmup_end, self.peak), decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Warm up, then follow a cosine down to `final_share` of the peak at the end of the run.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983); the public build-nanogpt recipe ends at 10 %.
    """

    peak: float = 1e-3
    warmup_tokens: int = 0
    final_share: float = 0.1
    annealed: ClassVar[bool] = True
    forks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_warmup(self.peak, self.warmup_tokens)
        _check_final_share(self.final_share)

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up and one cosine that ends with the run."""
        warmup, warmup_end = _warm_up(self.peak, self.warmup_tokens, grid)
        decay = RatePiece(
            shape="cosine",
            start=warmup_end,
            end=grid.total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """A constant rate after an optional warm-up, as in the released code of Li, Fung & Huang (2024)."""

    peak: float = 1e-3
    warmup_tokens: int = 0
    annealed: ClassVar[bool] = False
    forks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_warmup(self.peak, self.warmup_tokens)

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up and a constant piece."""
        warmup, warmup_end = _warm_up(self.peak, self.warmup_tokens, grid)
        return (*warmup, RatePiece.constant(warmup_end, self.peak))


RATES: dict[str, type[WSD] | type[Cosine] | type[Constant]] = {
    "wsd": WSD,
    "cosine": Cosine,
    "constant": Constant,
}
"""All rates by name."""


def rate_name(rate: Rate) -> str:
    """The name of a rate's shape; of a class that is not among `RATES`, the name of the class."""
    return next((name for name, kind in RATES.items() if type(rate) is kind), type(rate).__name__.lower())


def _warm_up(peak: float, tokens: int, grid: StepGrid) -> tuple[tuple[RatePiece, ...], int]:
    """The piece of a linear warm-up, and its end. A warm-up shorter than half a step has no piece and ends at 0.

    It rises from 0 one step before the run, so that the first step has a rate above 0.
    """
    end = grid.nearest(tokens)
    if end == 0:
        return (), 0
    return (RatePiece(shape="linear", start=-grid.first_step, end=end, start_lr=0.0, end_lr=peak),), end


def _check_warmup(peak: float, warmup_tokens: int) -> None:
    if not (math.isfinite(peak) and peak > 0):
        raise InvalidValueError(f"is {peak}: it must be a number above 0", field="peak", value=peak)
    if warmup_tokens < 0:
        raise InvalidValueError(
            f"is {warmup_tokens}: it must be 0 or more", field="warmup_tokens", value=warmup_tokens
        )


def _check_final_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise InvalidValueError(f"is {share}: it must be in [0, 1]", field="final_share", value=share)

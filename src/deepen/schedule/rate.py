"""Learning rates over a run, as pieces with explicit ends.

A rate does not depend on phases or depth. It makes its pieces on the step grid of a run, so that they begin and
end between two steps. Some pieces (the warm-up, the constant part of WSD) do not depend on the length of the run.
Runs of different lengths share them, and fork where their decays begin.

    WSD(peak=1.0, warmup_tokens=40, decay_share=0.2).pieces(StepGrid.even(1000, 10))
    # linear    0 → 1     up to 40
    # constant  1         from 40
    # linear    1 → 0     from 800 to 1000

A warm-up or a decay can be given as a share. A recipe's run turns shares into tokens (`Rate.in_tokens`). The
warm-up is a share of the *budget's* tokens, so that all runs of a study have the same one; the decay is a share of
the run's own tokens or compute.

To add a rate, write a subclass of `WarmedUp` and add it to `RATES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self, runtime_checkable

from deepen.errors import InvalidValueError, is_number, join_or
from deepen.schedule.grid import StepGrid
from deepen.schedule.rate_piece import SHAPES, RatePiece

TOKENS, COMPUTE = "tokens", "compute"
DECAY_UNITS = (TOKENS, COMPUTE)
"""What the share of a decay is counted in."""


@runtime_checkable
class Rate(Protocol):
    """A learning rate over a run."""

    @property
    def peak(self) -> float:
        """The highest rate."""
        ...

    @property
    def warmup_tokens(self) -> int:
        """Tokens of linear warm-up; 0 where it is a share."""
        ...

    @property
    def annealed(self) -> bool:
        """Whether the rate decays at the end of the run, so that the final loss can be compared."""
        ...

    @property
    def forks(self) -> bool:
        """Whether runs of different lengths are equal up to their decays, so that one can fork from another."""
        ...

    def scaled(self, share: float) -> Self:
        """The rate for a budget of `share` times as many tokens: lengths in tokens change with it."""
        ...

    def fix_warmup(self, budget: int) -> Self:
        """The rate with the warm-up of a budget of so many tokens, whatever the budget of its runs."""
        ...

    def in_tokens(self, budget: int, position: Callable[[float], float]) -> Self:
        """The rate for one run, with shares turned into tokens where they are not of the run's own tokens.

        Args:
            budget: tokens of the baseline.
            position: gives the tokens after which a share of the run's compute is used.
        """
        ...

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """The pieces for a run with these step positions, in order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmedUp:
    """What all rates have in common: a peak, and a linear warm-up, in tokens or as a share of the budget."""

    peak: float = 1e-3
    warmup_tokens: int = 0
    warmup_share: float = 0.0

    def __post_init__(self) -> None:
        if not (is_number(self.peak) and self.peak > 0):
            raise InvalidValueError(
                f"is {self.peak!r}: it must be a number above 0", field="peak", value=self.peak
            )
        if not (is_number(self.warmup_tokens) and self.warmup_tokens >= 0):
            raise InvalidValueError(
                f"is {self.warmup_tokens!r}: it must be 0 or more", field="warmup_tokens", value=self.warmup_tokens
            )
        if not (is_number(self.warmup_share) and 0 <= self.warmup_share < 1):
            raise InvalidValueError(
                f"is {self.warmup_share!r}: it must be at least 0 and below 1",
                field="warmup_share",
                value=self.warmup_share,
            )
        if self.warmup_tokens and self.warmup_share:
            raise InvalidValueError(
                f"is {self.warmup_share}, and `warmup_tokens` is {self.warmup_tokens:,}: give one of them",
                field="warmup_share",
                value=self.warmup_share,
            )

    def scaled(self, share: float) -> Self:
        """The rate with its warm-up for a budget of `share` times as many tokens."""
        return replace(self, warmup_tokens=round(self.warmup_tokens * share))

    def fix_warmup(self, budget: int) -> Self:
        """The rate with its warm-up in tokens; see `Rate.fix_warmup`."""
        if self.warmup_share == 0:
            return self
        return replace(self, warmup_tokens=round(self.warmup_share * budget), warmup_share=0.0)

    def in_tokens(self, budget: int, position: Callable[[float], float]) -> Self:
        """The rate with its warm-up in tokens; see `Rate.in_tokens`."""
        return self.fix_warmup(budget)

    def _warm_up(self, grid: StepGrid) -> tuple[tuple[RatePiece, ...], int]:
        """The piece of the warm-up, and its end. A warm-up shorter than half a step has no piece and ends at 0.

        It rises from 0 one step before the run, so that the first step has a rate above 0.
        """
        end = grid.nearest(self.warmup_tokens + self.warmup_share * grid.total)
        if end == 0:
            return (), 0
        piece = RatePiece(shape="linear", start=-grid.first_step, end=end, start_lr=0.0, end_lr=self.peak)
        return (piece,), end


@dataclass(frozen=True, kw_only=True, slots=True)
class WSD(WarmedUp):
    """Warm up, stay constant, then decay to `final_share` of the peak at the end of the run.

    The decay takes the last `decay_share` of the run, counted in tokens or in compute, or the last `decay_tokens`
    where they are given. The last 20 % of the tokens are more than 20 % of the compute of a run that was shallow
    first. Counted in compute, it and full training decay over the same share.

    Source: Hu et al. 2024 (MiniCPM, arXiv 2404.06395, section 4); Hägele et al. 2024 (arXiv 2405.18392, section 3:
    the shapes linear, cosine and 1 − sqrt).
    """

    decay_share: float = 0.2
    decay_in: str = TOKENS
    decay_tokens: int | None = None
    decay_shape: str = "linear"
    final_share: float = 0.0
    annealed: ClassVar[bool] = True
    forks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        WarmedUp.__post_init__(self)  # no super(): dataclasses with slots cannot call it without arguments
        if not (is_number(self.decay_share) and 0 < self.decay_share <= 1):
            raise InvalidValueError(
                f"is {self.decay_share!r}: it must be in (0, 1]", field="decay_share", value=self.decay_share
            )
        if not (self.decay_tokens is None or (is_number(self.decay_tokens) and self.decay_tokens >= 1)):
            raise InvalidValueError(
                f"is {self.decay_tokens!r}: it must be at least 1", field="decay_tokens", value=self.decay_tokens
            )
        _check_name("decay_in", self.decay_in, DECAY_UNITS)
        _check_name("decay_shape", self.decay_shape, tuple(SHAPES))
        _check_final_share(self.final_share)

    def scaled(self, share: float) -> Self:
        """The rate with its warm-up and its decay for a budget of `share` times as many tokens."""
        rate = WarmedUp.scaled(self, share)
        if self.decay_tokens is None:
            return rate
        return replace(rate, decay_tokens=max(1, round(self.decay_tokens * share)))

    def in_tokens(self, budget: int, position: Callable[[float], float]) -> Self:
        """The rate with its warm-up in tokens, and its decay if it is counted in compute."""
        rate = WarmedUp.in_tokens(self, budget, position)
        if self.decay_in == TOKENS or self.decay_tokens is not None:
            return rate
        length = position(1) - position(1 - self.decay_share)
        return replace(rate, decay_in=TOKENS, decay_tokens=max(1, round(length)))

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up, a constant piece, and the decay that ends with the run."""
        warmup, warmup_end = self._warm_up(grid)
        decay_start = self._decay_start(grid)
        if decay_start < warmup_end:
            field = "warmup_share" if self.warmup_share else "warmup_tokens"
            value = getattr(self, field)
            raise InvalidValueError(
                f"is {value:,}, but the decay begins at {decay_start:,} tokens, inside the warm-up",
                field=field,
                value=value,
                remedy="use fewer `warmup_tokens`, a smaller `warmup_share`, a shorter decay, or more tokens",
            )
        decay = RatePiece(
            shape=self.decay_shape,
            start=decay_start,
            end=grid.total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, RatePiece.constant(warmup_end, self.peak), decay)

    def _decay_start(self, grid: StepGrid) -> int:
        if self.decay_tokens is not None:
            start = grid.nearest(grid.total - self.decay_tokens)
        elif self.decay_in == TOKENS:
            start = grid.nearest(grid.total * (1 - self.decay_share))
        else:
            raise InvalidValueError(
                f"is {self.decay_in!r}, which needs a ledger",
                field="decay_in",
                value=self.decay_in,
                remedy="give one, or call `in_tokens` first",
            )
        if start >= grid.total:
            name = "decay_share" if self.decay_tokens is None else "decay_tokens"
            value = getattr(self, name)
            raise InvalidValueError(
                f"is {value:,}, too small a share of {grid.total:,} tokens to decay in: use more tokens",
                field=name,
                value=value,
            )
        return max(0, start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine(WarmedUp):
    """Warm up, then follow a cosine down to `final_share` of the peak at the end of the run.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983); the public build-nanogpt recipe ends at 10 %.
    """

    final_share: float = 0.1
    annealed: ClassVar[bool] = True
    forks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        WarmedUp.__post_init__(self)
        _check_final_share(self.final_share)

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up and one cosine that ends with the run."""
        warmup, warmup_end = self._warm_up(grid)
        decay = RatePiece(
            shape="cosine",
            start=warmup_end,
            end=grid.total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant(WarmedUp):
    """A constant rate after an optional warm-up, as in the released code of Li, Fung & Huang (2024)."""

    annealed: ClassVar[bool] = False
    forks: ClassVar[bool] = True

    def pieces(self, grid: StepGrid) -> tuple[RatePiece, ...]:
        """Warm-up and a constant piece."""
        warmup, warmup_end = self._warm_up(grid)
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


def _check_name(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValueError(
            f"{value!r} is unknown: use {join_or(allowed)}", field=field, value=value, allowed=allowed
        )


def _check_final_share(share: float) -> None:
    if not (is_number(share) and 0 <= share < 1):
        raise InvalidValueError(
            f"is {share!r}: it must be at least 0 and below 1, so that the rate decays",
            field="final_share",
            value=share,
        )

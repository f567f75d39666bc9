"""Learning rates over a run, as pieces with explicit ends.

A rate knows nothing of phases or depth. Its pieces are made for a given total, and a piece that does not
depend on the total (warm-up, the stable part of WSD) is the same for every total: runs of different length
can share it, and a decayed branch is a fork.
"""

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class RatePiece:
    """The rate between two points of a run: from `start_lr` to `end_lr`, `shape` linear or cosine.

    `end` is None for a constant piece, which holds for as long as it is used.
    """

    shape: str
    start: int
    end: int | None
    start_lr: float
    end_lr: float

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
        """Whether the rate is decayed at the end of the run, so that its last loss is a result."""
        ...

    @property
    def forks(self) -> bool:
        """Whether runs of different totals share all but their ends."""
        ...

    def pieces(self, total: int, batch_tokens: int) -> tuple[RatePiece, ...]:
        """The pieces for a run of `total` tokens, their ends on whole steps of `batch_tokens`."""
        ...


def _on_step(tokens: float, batch_tokens: int) -> int:
    return math.floor(tokens / batch_tokens + 0.5) * batch_tokens


def _warmup(peak: float, tokens: int, batch_tokens: int) -> tuple[RatePiece, ...]:
    """Linear warm-up whose first step already moves: it starts one step up."""
    end = _on_step(tokens, batch_tokens)
    if end < batch_tokens:
        return ()
    return (RatePiece(shape="linear", start=-batch_tokens, end=end, start_lr=0.0, end_lr=peak),)


def _check(peak: float, warmup_tokens: int) -> None:
    if not (math.isfinite(peak) and peak > 0):
        raise ValueError(f"peak learning rate is {peak}: it must be a number above 0")
    if warmup_tokens < 0:
        raise ValueError(f"warmup_tokens is {warmup_tokens}: it must be 0 or more")


def _check_final(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"final_share is {share}: it must be in [0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class WSD:
    """Warm up, stay, decay linearly to `final_share` of the peak over the last `decay_share` of the run.

    Source: Hu et al. 2024 (MiniCPM, arXiv 2404.06395, section 4); Hägele et al. 2024 (arXiv 2405.18392).
    """

    peak: float = 1e-3
    warmup_tokens: int = 0
    decay_share: float = 0.2
    final_share: float = 0.0
    annealed = True
    forks = True

    def __post_init__(self) -> None:
        _check(self.peak, self.warmup_tokens)
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"decay_share is {self.decay_share}: it must be in (0, 1]")
        _check_final(self.final_share)

    def pieces(self, total: int, batch_tokens: int) -> tuple[RatePiece, ...]:
        """Warm-up, a constant piece, and the decay that ends at `total`."""
        warmup = _warmup(self.peak, self.warmup_tokens, batch_tokens)
        begin = _on_step(total * (1 - self.decay_share), batch_tokens)
        if warmup and begin < (warmup[-1].end or 0):
            raise ValueError(f"the decay begins at {begin:,} tokens, inside the warm-up of {self.warmup_tokens:,}")
        if begin >= total:
            raise ValueError(f"{total:,} tokens are too few to decay over a share of {self.decay_share}: use more")
        stable = RatePiece(
            shape="constant",
            start=warmup[-1].end or 0 if warmup else 0,
            end=None,
            start_lr=self.peak,
            end_lr=self.peak,
        )
        decay = RatePiece(
            shape="linear",
            start=begin,
            end=total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, stable, decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Warm up, then a cosine down to `final_share` of the peak at the end of the run.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983); the public build-nanogpt recipe ends at 10 %.
    """

    peak: float = 1e-3
    warmup_tokens: int = 0
    final_share: float = 0.1
    annealed = True
    forks = False

    def __post_init__(self) -> None:
        _check(self.peak, self.warmup_tokens)
        _check_final(self.final_share)

    def pieces(self, total: int, batch_tokens: int) -> tuple[RatePiece, ...]:
        """Warm-up and one cosine that ends at `total`."""
        warmup = _warmup(self.peak, self.warmup_tokens, batch_tokens)
        begin = warmup[-1].end or 0 if warmup else 0
        fall = RatePiece(
            shape="cosine",
            start=begin,
            end=total,
            start_lr=self.peak,
            end_lr=self.peak * self.final_share,
        )
        return (*warmup, fall)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """One rate throughout, after an optional warm-up: the released code of Li, Fung & Huang (2024)."""

    peak: float = 1e-3
    warmup_tokens: int = 0
    annealed = False
    forks = True

    def __post_init__(self) -> None:
        _check(self.peak, self.warmup_tokens)

    def pieces(self, total: int, batch_tokens: int) -> tuple[RatePiece, ...]:
        """Warm-up and a constant piece."""
        warmup = _warmup(self.peak, self.warmup_tokens, batch_tokens)
        begin = warmup[-1].end or 0 if warmup else 0
        return (
            *warmup,
            RatePiece(shape="constant", start=begin, end=None, start_lr=self.peak, end_lr=self.peak),
        )


RATES: dict[str, type[WSD] | type[Cosine] | type[Constant]] = {
    "wsd": WSD,
    "cosine": Cosine,
    "constant": Constant,
}

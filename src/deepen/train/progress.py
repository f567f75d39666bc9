"""How far a run is. Needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Training tokens, steps, exact FLOPs and seconds of training of a run so far."""

    tokens: int = 0
    step: int = 0
    flops: int = 0
    seconds: float = 0.0

    def advance(self, *, tokens: int, flops: int, seconds: float) -> "Progress":
        """The progress after one more step that took these tokens, FLOPs and seconds."""
        return Progress(
            tokens=self.tokens + tokens,
            step=self.step + 1,
            flops=self.flops + flops,
            seconds=self.seconds + seconds,
        )

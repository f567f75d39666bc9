"""Growth after the learning rate has begun to decay, which is reported to lose: new blocks learn at a low rate.

Source: Bu 2025 (arXiv 2511.04981), where growth succeeds in the constant part of a rate and fails late under a
cosine.
"""

from dataclasses import dataclass
from itertools import accumulate

from deepen.schedule.schedule import Schedule

REMEDY = "New blocks then learn at a low rate: grow earlier, or use a rate that decays later"


@dataclass(frozen=True, kw_only=True, slots=True)
class LateGrowth:
    """A growth that comes after the rate has begun to decay.

    Attributes:
        depth: blocks after growth.
        tokens: of the run, before growth.
        share: `tokens` as a share of the run.
        lr_share: the rate at growth as a share of its peak.
    """

    depth: int
    tokens: int
    share: float
    lr_share: float

    def __str__(self) -> str:
        return (
            f"grows to {self.depth} blocks after {100 * self.share:.0f} % of its tokens, when its learning rate "
            f"has decayed to {100 * self.lr_share:.0f} % of its peak"
        )


def find_late_growth(schedule: Schedule) -> LateGrowth | None:
    """The last growth of a schedule in whole steps, if the rate has begun to decay before it; else None."""
    begins = accumulate((phase.tokens for phase in schedule.phases[:-1]), initial=0)
    growths = [
        (begin, step) for begin, step in zip(begins, schedule.growth_steps, strict=True) if step is not None
    ]
    if not growths:
        return None
    tokens, last = growths[-1]
    pieces = schedule.rate.pieces(schedule.grid)
    piece = next(piece for piece in reversed(pieces) if piece.start <= tokens)
    if not piece.has_decayed(tokens):
        return None
    lr_share = piece.at(tokens) / schedule.rate.peak
    return LateGrowth(depth=last.depth, tokens=tokens, share=tokens / schedule.tokens, lr_share=lr_share)

"""The validation text of a mark in blocks, so that the error that comes from the choice of text can be computed.

Neighbouring windows often belong to one document, so their losses are not independent; blocks of 16 windows nearly
are. All marks of a study are measured on the same text, so two arms can be compared block by block.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

BLOCK_WINDOWS = 16


def block_means(windows: Sequence[float]) -> tuple[float, ...]:
    """The mean loss of each block of 16 windows, in order; windows left over belong to the last block."""
    ends = [*range(BLOCK_WINDOWS, len(windows) - BLOCK_WINDOWS + 1, BLOCK_WINDOWS), len(windows)]
    starts = [0, *ends[:-1]]
    return tuple(fmean(windows[start:end]) for start, end in zip(starts, ends, strict=True)) if windows else ()


def text_stderr(blocks: Sequence[float]) -> float | None:
    """The standard error of a loss over the blocks of its text; None with fewer than two."""
    return stdev(blocks) / math.sqrt(len(blocks)) if len(blocks) > 1 else None


def mean_of_part(blocks: Sequence[float], windows: int) -> float | None:
    """The mean loss of the first windows of a text; None unless they are whole blocks and not the last one.

        mean_of_part((3.0, 5.0, 4.0), 32)    # 4.0: the first two blocks

    Args:
        blocks: the means of the text's blocks of 16 windows, in order; the last may have more windows.
        windows: the number of windows.
    """
    count, left_over = divmod(windows, BLOCK_WINDOWS)
    return fmean(blocks[:count]) if not left_over and 0 < count < len(blocks) else None

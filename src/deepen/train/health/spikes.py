"""Loss spikes: losses far above those of the steps before."""

import statistics
from collections.abc import Sequence

WINDOW = 64
"""How many losses a step's loss is compared with. They are part of the state, so that interrupting a run changes
nothing."""

MIN_LOSSES = WINDOW // 2
"""How many losses there must be, since the beginning or the last growth, before a loss can be a spike."""

SPIKE_SCORE = 7.0
"""Deviations above the median from which on a loss is a spike.

Of 83,771 steps of our own runs on nano models (batches of 1,024 tokens; two-phase, staged, one-shot and full; peak
rates up to 1.6e-2) the highest score was 6.2 and the next 4.6. OLMo-core's SkipStepOptimizer uses 6 standard
deviations.
"""

MIN_DEVIATION = 1e-3
"""The least deviation, as a share of the median, so that a very smooth curve does not make small steps spikes."""


def spike_score(losses: Sequence[float], loss: float) -> float:
    """How many deviations a loss is above the median of the losses before it; 0.0 while they are too few.

    A deviation is 1.4826 times the median absolute deviation, which is the standard deviation of normal losses.
    Medians, because earlier spikes and the slope of the curve hardly widen them. Where the loss has risen for
    good, the new level becomes the median after half a window.

    Args:
        losses: the latest losses in nats per token, at most WINDOW of them.
        loss: the loss of this step.
    """
    if len(losses) < MIN_LOSSES:
        return 0.0
    median = statistics.median(losses)
    deviation = 1.4826 * statistics.median(abs(each - median) for each in losses)
    return (loss - median) / max(deviation, MIN_DEVIATION * abs(median))

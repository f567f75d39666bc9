"""Loss spikes: losses far above those of the preceding steps."""

import statistics
from collections.abc import Sequence

WINDOW = 64
"""How many losses a step's loss is compared with. They are part of the state, so interrupting a run changes
nothing."""

MIN_LOSSES = WINDOW // 2
"""How many losses are needed, since the beginning or the last growth, before a loss can be a spike."""

SPIKE_SCORE = 7.0
"""A loss more deviations above the median than this is a spike.

Of 83,771 steps of our own runs on nano models (batches of 1,024 tokens; two-phase, staged, one-shot and full; peak
rates up to 1.6e-2) the highest score was 6.2 and the next 4.6. OLMo-core's SkipStepOptimizer uses 6 standard
deviations.
"""

MIN_DEVIATION = 1e-3
"""The smallest deviation, as a share of the median: small changes of a very smooth curve are not spikes."""


def spike_score(losses: Sequence[float], loss: float) -> float:
    """How many deviations a loss is above the median of the preceding losses; 0.0 while they are too few.

    A deviation is 1.4826 times the median absolute deviation, which is the standard deviation of normal losses.
    Medians are used because earlier spikes and the slope of the curve hardly affect them. If the loss stays at a
    higher level, that level becomes the median after half a window.

    Args:
        losses: the latest losses in nats per token, at most WINDOW of them.
        loss: the loss of this step.
    """
    if len(losses) < MIN_LOSSES:
        return 0.0
    median = statistics.median(losses)
    deviation = 1.4826 * statistics.median(abs(each - median) for each in losses)
    return (loss - median) / max(deviation, MIN_DEVIATION * abs(median))

"""Clocks: how many seconds a phase takes, for plans in hours and for costs."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from deepen.compute.devices import Fleet
from deepen.compute.ledger import Ledger
from deepen.compute.timing import Timing
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

Clock = Callable[[Phase, TrainedParts], float]
"""Seconds of a phase, from the phase and what it trains."""


def datasheet_clock(ledger: Ledger, fleet: Fleet) -> Clock:
    """Seconds at a constant share of the devices' peak.

    The share refers to FLOPs that count attention densely, even if the ledger does not. The devices divide a batch
    among them, but each of them updates every matrix: the optimizer's matrix products are repeated.
    """
    dense = replace(ledger, causal_exact=False)

    @lru_cache(maxsize=4096)
    def price(trained: TrainedParts, batch_tokens: int, context: int) -> int:
        repeated = (fleet.count - 1) * dense.optimizer_products(trained)
        return dense.flops_per_step(trained, batch_tokens, context) + repeated

    return lambda phase, trained: fleet.seconds(phase.steps * price(trained, phase.batch_tokens, phase.context))


def bench_clock(timing: Timing) -> Clock:
    """Seconds as `deepen bench` measured them."""
    return lambda phase, trained: phase.tokens * timing.seconds_per_token(trained)

"""When a step's loss and gradient norm are read back from the device: before its update, or one step late.

Reading a number back waits until the device has computed it. On a CPU that costs nothing, so `ImmediateReadBack`
reads first and updates only where the numbers allow it. On a GPU it would leave the device idle between steps, so
`LateReadBack` queues the update and the next step before it reads:

    step 1 computed, update 1 queued
    step 2 computed, update 2 queued, numbers of step 1 read     (the GPU is still busy with step 2)
    step 3 computed, update 3 queued, numbers of step 2 read ...

Numbers that are not finite must stop a run before they reach the weights, and by the time they are read two
updates are queued. A flag on the device therefore holds back the update of that step and every later one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deepen.train.placement import Placement
from deepen.train.settings import TrainSettings

Measured = dict[str, float]
"""What is logged of a step: `loss`, `lr` and `grad_norm`; for a spike also `spike`, its score, and `skipped` where
its update was left out."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step whose gradients are computed.

    Args:
        lr: its learning rate.
        numbers: its loss and gradient norm, (2,), on the device.
    """

    lr: float
    numbers: Tensor


class Update(Protocol):
    """Moves the weights by a step's gradients, unless the flag `found_inf` is 1 on the device."""

    def __call__(self, step: Step, found_inf: Tensor | None = None) -> None: ...  # noqa: D102


class ReadBack(Protocol):
    """Decides when the parts of a step happen.

    Args:
        update: moves the weights.
        check: reads a step's numbers; raises a TrainingError where the step must not be taken.
        record: counts and logs a step that was taken.
    """

    def __init__(
        self, update: Update, check: Callable[[Step], Measured], record: Callable[[Measured], None]
    ) -> None: ...

    def take(self, step: Step) -> None:
        """Take a step whose gradients are there, or raise."""

    def finish(self) -> None:
        """Record what was taken and not read back yet."""


def choose_read_back(placement: Placement, settings: TrainSettings) -> type[ReadBack]:
    """Late on a GPU, unless a spike must be known before its update, or no flag can hold back updates."""
    is_late = placement.device.type == "cuda" and placement.can_hold_back_updates and settings.on_spike == "warn"
    return LateReadBack if is_late else ImmediateReadBack


class ImmediateReadBack:
    """Reads the numbers first, and updates only where they allow it."""

    def __init__(
        self, update: Update, check: Callable[[Step], Measured], record: Callable[[Measured], None]
    ) -> None:
        self._update, self._check, self._record = update, check, record

    def take(self, step: Step) -> None:
        """Check, update, record."""
        measured = self._check(step)
        if "skipped" not in measured:
            self._update(step)
        self._record(measured)

    def finish(self) -> None:
        """Nothing is left to record."""


class LateReadBack:
    """Queues the update, and reads the numbers of the step before."""

    def __init__(
        self, update: Update, check: Callable[[Step], Measured], record: Callable[[Measured], None]
    ) -> None:
        self._update, self._check, self._record = update, check, record
        self._unread = deque[Step]()
        self._frozen: Tensor | None = None

    def take(self, step: Step) -> None:
        """Update unless a step was not finite; check and record the step before."""
        is_nonfinite = 1.0 - step.numbers.isfinite().all().float()
        self._frozen = is_nonfinite if self._frozen is None else torch.maximum(self._frozen, is_nonfinite)
        self._update(step, found_inf=self._frozen)
        self._unread.append(step)
        if len(self._unread) > 1:
            self._read_oldest()

    def finish(self) -> None:
        """Check and record the last step."""
        while self._unread:
            self._read_oldest()

    def _read_oldest(self) -> None:
        self._record(self._check(self._unread.popleft()))

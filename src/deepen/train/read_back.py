"""When a step's loss and gradient norm are read back from the device: before its update, or one step late.

Reading a number back waits until the device has computed it. On a CPU that costs nothing, so `ImmediateReadBack`
reads first and updates only if the numbers are good. On a GPU it would leave the device idle between steps, so
`LateReadBack` queues the update and the next step before it reads. What the queue (a CUDA stream) holds, and what
the process waits for:

    step 1, update 1, copy 1, event 1
    step 2, update 2, copy 2, event 2        waits for event 1, reads copy 1; the GPU still computes step 2
    step 3, update 3, copy 3, event 3        waits for event 2, reads copy 2 ...

A plain `numbers.tolist()` would queue its copy behind the next step, and wait for that as well. So the copy is
queued right after the update, and an event marks its end. A step's seconds are therefore the time between two
events, which is the time that the device took.

Numbers that are not finite must stop a run before they reach the weights, but by the time they are read two
updates are queued. A flag on the device therefore holds back the update of that step and every later one.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from deepen.train.events import Event, make_event
from deepen.train.placement import Placement
from deepen.train.settings import TrainSettings

Measured = dict[str, float]
"""What is logged of a step: `loss`, `lr` and `grad_norm`; `lr_new_blocks` while that rises on its own; for a spike
also its score `spike`, and `skipped` if its update was left out."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step whose gradients are computed.

    Args:
        lr: the learning rate.
        numbers: loss and gradient norm, (2,), on the device, or copied from it.
        rewarm_share: factor on the rate of the rewarmed blocks.
    """

    lr: float
    numbers: Tensor
    rewarm_share: float = 1.0


class Update(Protocol):
    """Takes an optimizer step, which changes nothing if the flag `found_inf` is 1 on the device."""

    def __call__(self, step: Step, found_inf: Tensor | None = None) -> None: ...  # noqa: D102


class ReadBack(ABC):
    """Decides when a step is checked, taken and recorded.

    Args:
        update: takes the optimizer step.
        check: reads a step's numbers; raises a TrainingError if the step must not be taken.
        record: counts and logs a step that was taken.
    """

    def __init__(
        self, update: Update, check: Callable[[Step], Measured], record: Callable[[Measured], None]
    ) -> None:
        self._update, self._check, self._record = update, check, record

    @abstractmethod
    def take(self, step: Step) -> None:
        """Take a step whose gradients are computed, or raise a TrainingError."""

    @abstractmethod
    def finish(self) -> None:
        """Record the steps that were taken but not read back yet."""


def choose_read_back(placement: Placement, settings: TrainSettings) -> type[ReadBack]:
    """Late on a GPU, unless spikes must be found before their update, or no flag can hold back updates."""
    has_flag = placement.can_hold_back_updates and settings.optimizer.can_hold_back
    is_late = placement.device.type == "cuda" and has_flag and settings.on_spike == "warn"
    return LateReadBack if is_late else ImmediateReadBack


class ImmediateReadBack(ReadBack):
    """Reads the numbers first, and updates only if they are good."""

    def take(self, step: Step) -> None:
        """Check, update, record."""
        measured = self._check(step)
        if "skipped" not in measured:
            self._update(step)
        self._record(measured)

    def finish(self) -> None:
        """Every step is recorded already."""


class LateReadBack(ReadBack):
    """Queues the update and a copy of the numbers, then reads the numbers of the previous step.

    Args:
        update, check, record: as in `ReadBack`.
        make_event: makes an event of a device.
    """

    def __init__(
        self,
        update: Update,
        check: Callable[[Step], Measured],
        record: Callable[[Measured], None],
        make_event: Callable[[torch.device], Event] = make_event,
    ) -> None:
        super().__init__(update, check, record)
        self._make_event = make_event
        self._unread = deque[tuple[Step, Event]]()
        self._frozen: Tensor | None = None

    def take(self, step: Step) -> None:
        """Update unless a step so far was not finite; check and record the previous step."""
        is_nonfinite = 1.0 - step.numbers.isfinite().all().float()
        self._frozen = is_nonfinite if self._frozen is None else torch.maximum(self._frozen, is_nonfinite)
        self._update(step, found_inf=self._frozen)
        on_host = replace(step, numbers=step.numbers.to("cpu", non_blocking=True))  # into pinned memory
        copied = self._make_event(step.numbers.device)
        copied.record()
        self._unread.append((on_host, copied))
        if len(self._unread) > 1:
            self._read_oldest()

    def finish(self) -> None:
        """Check and record the last step."""
        while self._unread:
            self._read_oldest()

    def _read_oldest(self) -> None:
        step, copied = self._unread.popleft()
        copied.synchronize()
        self._record(self._check(step))

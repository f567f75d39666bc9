"""What training decides: where the phases end that a plateau may end, and which trial is the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deepen.schedule.plateau import Trigger

Decide = Callable[[Trigger, Mapping[int, str]], int | None]
"""Returns where training has decided that the phase of a trigger ends, in tokens of the run; None if it has not.

The mapping has the key of the segment that ends at each check and at the latest end.
"""


def undecided(trigger: Trigger, keys: Mapping[int, str]) -> None:
    """Before training, nothing is decided."""


FindLoss = Callable[[str], float | None]
"""Returns the validation loss at the end of the segment with a key; None until that is trained.

It is infinite if the training that leads to it diverged.
"""


def unknown_loss(key: str) -> None:
    """Before training, no loss is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Where a phase of a route ends that a plateau may end.

    Attributes:
        trigger: the phase and its checks.
        end: where it ends, in tokens of the run; the latest end as long as it is open.
        is_open: whether training has still to decide.
    """

    trigger: Trigger
    end: int
    is_open: bool

    @property
    def is_plateau(self) -> bool:
        """Whether the phase ended early."""
        return not self.is_open and self.end < self.trigger.latest

    def to_json(self) -> dict[str, Any]:
        """The decision as study.json records it."""
        ended = "open" if self.is_open else "plateau" if self.is_plateau else "latest"
        return {"phase": self.trigger.label, "tokens": self.end, "latest": self.trigger.latest, "ended": ended}

"""What training does with a layer, as figures show it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from deepen.compute.ledger import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStyle:
    """How a role is drawn.

    Attributes:
        label: the entry of the legend.
        colour, dark_colour: its colours on white and on black.
    """

    label: str
    colour: str
    dark_colour: str


def role_key(role: Role) -> str:
    """The key of a role in `ROLE_STYLES`."""
    return role.name.lower()


ROLE_STYLES = {
    "trained": RoleStyle(label="trained", colour="#2166ac", dark_colour="#5b9bd5"),
    "through": RoleStyle(label="frozen, gradients run through", colour="#92c5de", dark_colour="#2f5f7d"),
    "forward": RoleStyle(label="frozen, forward only", colour="#d9d9d9", dark_colour="#44443f"),
    "unknown": RoleStyle(
        label="executed; what was trained is not recorded", colour="#8d9aa5", dark_colour="#76838e"
    ),
}
"""The roles of the ledger, by lower-case name, and none at all."""

ADDED_COLOUR, DARK_ADDED_COLOUR = "#e08214", "#f0a24a"
"""The colour of blocks that are added, on white and on black."""


class LayerGroup(NamedTuple):
    """Adjacent layers that are drawn alike: from layer `low` to `high` (exclusive).

    `role` is one of `ROLE_STYLES`; `is_repeat`: they execute a block again.
    """

    role: str
    is_repeat: bool
    low: int
    high: int


def group_layers(executed: Sequence[int], roles: Iterable[str]) -> Iterator[LayerGroup]:
    """Group the layers of a phase, bottom to top.

    Args:
        executed: the block that each layer executes.
        roles: the role of each layer.
    """
    repeats = [block in executed[:layer] for layer, block in enumerate(executed)]
    low = 0
    for (role, is_repeat), group in groupby(zip(roles, repeats, strict=True)):
        high = low + len(list(group))
        yield LayerGroup(role, is_repeat, low, high)
        low = high

"""How a model becomes deeper, as a value: operator, placement and moment policy by name."""

from dataclasses import dataclass

from deepen.growth.layout import Layout, get_placement
from deepen.growth.moments import get_moment_policy
from deepen.growth.operators import get_operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a model becomes deeper where a schedule's depth rises.

    Attributes:
        operator: how new blocks get their weights, one of `OPERATORS`.
        placement: where new blocks go, one of `PLACEMENTS`; empty means the operator's default.
        moments: what happens to the optimizer's moments, one of `MOMENT_POLICIES`.
    """

    operator: str = "random"
    placement: str = ""
    moments: str = "keep"

    def __post_init__(self) -> None:
        operator = get_operator(self.operator)
        if not self.placement:
            object.__setattr__(self, "placement", operator.placement)
        get_placement(self.placement)
        get_moment_policy(self.moments)

    def layout(self, old: int, new: int) -> Layout:
        """The layout of `old` blocks with `new` ones added."""
        return get_placement(self.placement).arrange(old, new)

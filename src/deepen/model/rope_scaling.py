"""How rotary positions are stretched to longer contexts, as values. Needs no torch; `rotary.py` applies them."""

import math
from dataclasses import dataclass, fields
from typing import Any

from deepen.errors import InvalidValueError


def _check_positive(scaling: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(scaling, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InvalidValueError(f"is {value!r}: it must be a number above 0", field=name, value=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearScaling:
    """All frequencies divided by a factor (Chen et al. 2023, arXiv 2306.15595)."""

    factor: float

    def __post_init__(self) -> None:
        _check_positive(self, ("factor",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Llama3Scaling:
    """Low frequencies divided by a factor, high ones kept, those between interpolated (Llama 3, arXiv 2407.21783).

    Args:
        factor: what low frequencies are divided by.
        low_frequency, high_frequency: turns within `original_context` up to which a frequency is low, and from
            which it is high.
        original_context: tokens of the context before it was stretched.
    """

    factor: float
    original_context: int
    low_frequency: float = 1.0
    high_frequency: float = 4.0

    def __post_init__(self) -> None:
        _check_positive(self, tuple(field.name for field in fields(self)))
        if self.low_frequency >= self.high_frequency:
            raise InvalidValueError(
                f"is {self.low_frequency:g}: it must be below high_frequency {self.high_frequency:g}",
                field="low_frequency",
                value=self.low_frequency,
            )


RopeScaling = LinearScaling | Llama3Scaling


def parse_rope_scaling(content: Any) -> RopeScaling | None:
    """The scaling whose fields a JSON object has, or None.

    Raises:
        InvalidValueError: no scaling has these fields, or a value cannot be used.
    """
    if content is None:
        return None
    for kind in (LinearScaling, Llama3Scaling):
        if isinstance(content, dict) and content.keys() == {field.name for field in fields(kind)}:
            return kind(**content)
    raise InvalidValueError(
        f"is {str(content)[:60]}: no scaling has these fields", field="rope_scaling", value=content
    )

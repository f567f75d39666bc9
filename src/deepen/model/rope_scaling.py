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


@dataclass(frozen=True, kw_only=True, slots=True)
class YarnScaling:
    """As Llama 3's, but interpolated by the pair's number, and with larger scores (YaRN, arXiv 2309.00071).

    Args:
        factor: what low frequencies are divided by.
        original_context: tokens of the context before it was stretched.
        beta_fast, beta_slow: turns within `original_context` from which a frequency is kept, and up to which it is
            divided.
        attention_factor: multiplies rotated queries and keys; 0 means 1 + 0.1 · ln(factor).
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self, ("factor", "original_context", "beta_fast", "beta_slow"))
        if self.attention_factor == 0:
            object.__setattr__(self, "attention_factor", 1 + 0.1 * max(0.0, math.log(self.factor)))
        _check_positive(self, ("attention_factor",))


RopeScaling = LinearScaling | Llama3Scaling | YarnScaling


def parse_rope_scaling(content: Any) -> RopeScaling | None:
    """The scaling whose fields a JSON object has, or None.

    Raises:
        InvalidValueError: no scaling has these fields, or a value cannot be used.
    """
    if content is None:
        return None
    for kind in (LinearScaling, Llama3Scaling, YarnScaling):
        if isinstance(content, dict) and content.keys() == {field.name for field in fields(kind)}:
            return kind(**content)
    raise InvalidValueError(
        f"is {str(content)[:60]}: no scaling has these fields", field="rope_scaling", value=content
    )

"""The options of a llama that change its modules."""

from typing import Any

from hypothesis import strategies as st

from deepen.model.families import FAMILIES, NORM_POSITIONS, QK_NORMS

RELATIVES: dict[str, dict[str, Any]] = {
    "qwen2": {"biases": "qkv"},
    "qwen3": {"qk_norm": "per-head", "head_dim": 6},
    "olmo2": {"qk_norm": "all-heads", "norm_position": "post"},
}
"""The options of Llama's relatives."""


@st.composite
def any_options(draw: st.DrawFn, family: str, head_widths: tuple[int, ...]) -> dict[str, Any]:
    """Any options that a family allows; a head's width is one of `head_widths`, or width / heads."""
    if not FAMILIES[family].has_options:
        return {}
    return {
        "head_dim": draw(st.sampled_from((0, *head_widths))),
        "biases": draw(st.sampled_from(sorted(FAMILIES[family].biases))),
        "qk_norm": draw(st.sampled_from(sorted(QK_NORMS))),
        "norm_position": draw(st.sampled_from(sorted(NORM_POSITIONS))),
    }

"""Rotary positions in a config.json, as base and scaling of a `ModelConfig`, and back. Needs no torch."""

from collections.abc import Mapping
from typing import Any

from deepen.interop.hugging_face.entries import Entries
from deepen.model.rope_scaling import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling


def parse_rope(entries: Entries, context: int) -> tuple[float, RopeScaling | None]:
    """Base and scaling of rotary positions: both in `rope_parameters`, or in `rope_theta` and `rope_scaling`.

    Args:
        entries: of the config.
        context: the model's, where a scaling does not name the one before it was stretched.

    Raises:
        InvalidValueError: positions of this type are not trained, or an entry is missing or damaged.
    """
    where = "rope_scaling" if entries.given("rope_scaling") else "rope_parameters"
    parameters = entries.given(where) or {}
    if not isinstance(parameters, Mapping) or any(isinstance(value, Mapping) for value in parameters.values()):
        raise entries.error(where, "rotary positions that differ between blocks are not trained")
    rope = Entries(
        {"rope_theta": entries.number("rope_theta", 10_000.0), **parameters}, f"{where} in {entries.name}"
    )
    rope.require("partial_rotary_factor", (1, 1.0), "heads that are rotated in part are not trained")
    theta = rope.number("rope_theta")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, LinearScaling(factor=rope.number("factor"))
    if kind == "llama3":
        return theta, Llama3Scaling(
            factor=rope.number("factor"),
            low_frequency=rope.number("low_freq_factor"),
            high_frequency=rope.number("high_freq_factor"),
            original_context=rope.whole("original_max_position_embeddings", context),
        )
    if kind == "yarn":
        rope.refuse_if("mscale", "this variant of YaRN is not trained")
        rope.refuse_if("mscale_all_dim", "this variant of YaRN is not trained")
        rope.require("truncate", (True,), "this variant of YaRN is not trained")
        return theta, YarnScaling(
            factor=rope.number("factor"),
            original_context=rope.whole("original_max_position_embeddings", context),
            beta_fast=rope.number("beta_fast", 32.0),
            beta_slow=rope.number("beta_slow", 1.0),
            attention_factor=rope.number("attention_factor", 0.0),
        )
    reason = f"rotary positions of type {kind} are not trained, only default, linear, llama3 and yarn"
    raise entries.error(where, reason)


def make_rope_scaling(scaling: RopeScaling | None) -> dict[str, Any] | None:
    """The entry `rope_scaling` of a config."""
    match scaling:
        case None:
            return None
        case LinearScaling():
            return {"rope_type": "linear", "factor": scaling.factor}
        case Llama3Scaling():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_frequency,
                "high_freq_factor": scaling.high_frequency,
                "original_max_position_embeddings": scaling.original_context,
            }
        case YarnScaling():
            return {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "original_max_position_embeddings": scaling.original_context,
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
                "attention_factor": scaling.attention_factor,
            }

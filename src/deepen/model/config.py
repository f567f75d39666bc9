"""What a model is, in numbers, and the presets by name. Needs no torch, so that planning starts at once."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A GPT-2 at its final depth.

    `depth` is the number of blocks the model ends up with; a run that grows builds shallower models from
    the same config. `context` is the size of the position table in tokens, `vocab` the rows of the tied
    embedding and head. `init_std` is the spread of fresh weights: GPT-2's 0.02 is right at its widths; a
    narrow model needs more for the same spread of activations (see `scaled_init_std`).
    """

    name: str
    depth: int
    width: int
    heads: int
    context: int
    vocab: int
    init_std: float = 0.02

    def __post_init__(self) -> None:
        for field in ("depth", "width", "heads", "context", "vocab"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field} is {value!r}: it must be a whole number of at least 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}: heads share the width")

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: four matrices of 12·width² weights, their biases, two norms."""
        return 12 * self.width**2 + 13 * self.width

    @property
    def parameters_non_embedding(self) -> int:
        """Parameters of all blocks and the final norm (Kaplan's N, without token and position tables)."""
        return self.depth * self.block_parameters + 2 * self.width

    @property
    def parameters(self) -> int:
        """All parameters; the tied head counts once."""
        return self.parameters_non_embedding + (self.vocab + self.context) * self.width


def scaled_init_std(width: int) -> float:
    """The spread that gives a narrow model the activations of GPT-2 124M: 0.02·√(768 / width)."""
    return round(0.02 * math.sqrt(768 / width), 4)


def _narrow(name: str, width: int, heads: int, context: int, vocab: int) -> ModelConfig:
    """A small preset: twelve blocks, as the paper's model."""
    std = scaled_init_std(width)
    return ModelConfig(name=name, depth=12, width=width, heads=heads, context=context, vocab=vocab, init_std=std)


def _gpt2(name: str, depth: int, width: int, heads: int) -> ModelConfig:
    return ModelConfig(name=name, depth=depth, width=width, heads=heads, context=1024, vocab=50257)


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        _narrow("nano", width=20, heads=2, context=64, vocab=1024),  # the quickstart's: minutes on two CPU cores
        _narrow("micro", width=64, heads=4, context=128, vocab=2048),
        _narrow("mini", width=128, heads=4, context=256, vocab=8192),
        _gpt2("gpt2-124m", depth=12, width=768, heads=12),
        _gpt2("gpt2-350m", depth=24, width=1024, heads=16),
    )
}

"""What a model is, in numbers, and the presets by name. Needs no torch, so that planning starts at once."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A GPT-2 at its final depth.

    `depth` is the number of blocks the model ends up with; a run that grows builds shallower models from
    the same config. `context` is the size of the position table in tokens, `vocab` the rows of the tied
    embedding and head.
    """

    name: str
    depth: int
    width: int
    heads: int
    context: int
    vocab: int

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


def _preset(name: str, depth: int, width: int, heads: int, context: int, vocab: int) -> ModelConfig:
    return ModelConfig(name=name, depth=depth, width=width, heads=heads, context=context, vocab=vocab)


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        _preset("nano", 12, 20, 2, 64, 1024),  # the quickstart's: minutes on two CPU cores
        _preset("micro", 12, 64, 4, 128, 2048),
        _preset("mini", 12, 128, 4, 256, 8192),
        _preset("gpt2-124m", 12, 768, 12, 1024, 50257),
        _preset("gpt2-350m", 24, 1024, 16, 1024, 50257),
    )
}

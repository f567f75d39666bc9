"""What a model is, in numbers, and the presets by name. Needs no torch, so that planning starts at once."""

import math
from dataclasses import dataclass, field

from deepen.model.families import FAMILIES, default_mlp

_SIZES = ("depth", "width", "heads", "kv_heads", "mlp", "context", "vocab")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A decoder at its final depth: every size that its modules, its price and its memory follow from.

    `depth` is the number of blocks the model ends up with; a run that grows builds shallower models from the
    same config. `heads` share the width; `kv_heads` of keys and values (0: as many) serve them in groups;
    `mlp` is the width inside a block's MLP (0: the family's own, 4·width, or 8/3·width for llama). `context`
    is in tokens, `vocab` in rows of the embedding; `tied` says whether the head is the same matrix.
    `init_std` is the spread of fresh weights: GPT-2's 0.02 is right at its widths; a narrow model needs more
    for the same spread of activations (see `scaled_init_std`).
    """

    name: str = field(metadata={"identity": False})
    depth: int
    width: int
    heads: int
    context: int
    vocab: int
    family: str = "gpt2"
    kv_heads: int = 0
    mlp: int = 0
    tied: bool = True
    rope_base: float = 10_000.0
    init_std: float = 0.02

    def __post_init__(self) -> None:
        if not isinstance(self.family, str) or self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is unknown: use {', '.join(FAMILIES)}")
        if self.kv_heads == 0:
            object.__setattr__(self, "kv_heads", self.heads)
        for size in _SIZES:
            value = getattr(self, size)
            if size == "mlp" and value == 0:
                object.__setattr__(self, size, default_mlp(self.family, self.width))
            elif not isinstance(value, int) or value < 1:
                raise ValueError(f"{size} is {value!r}: it must be a whole number of at least 1")
        for size in ("rope_base", "init_std"):
            value = getattr(self, size)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{size} is {value!r}: it must be a number above 0")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}: heads share the width")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}: they share evenly"
            )
        if self.family == "gpt2" and self.kv_heads != self.heads:
            raise ValueError(
                f"kv_heads is {self.kv_heads}, but gpt2 has as many as heads, {self.heads}: use family llama"
            )
        if self.family == "llama" and self.head_width % 2:
            raise ValueError(
                f"width / heads is {self.head_width}: rotary positions turn pairs, so it must be even"
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def block_linears(self) -> dict[str, tuple[int, int]]:
        """The matrices of one block by name, each (inputs, outputs)."""
        width, inner = self.width, self.mlp
        if self.family == "gpt2":
            return {
                "attention.qkv": (width, 3 * width),
                "attention.out": (width, width),
                "mlp.up": (width, inner),
                "mlp.down": (inner, width),
            }
        keys = self.kv_heads * self.head_width
        return {
            "attention.q": (width, width),
            "attention.k": (width, keys),
            "attention.v": (width, keys),
            "attention.out": (width, width),
            "mlp.gate": (width, inner),
            "mlp.up": (width, inner),
            "mlp.down": (inner, width),
        }

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm: a gain, and for gpt2 a bias."""
        return (2 if self.family == "gpt2" else 1) * self.width

    @property
    def linear_parameters(self) -> int:
        """Parameters of one block's matrices, and for gpt2 their biases."""
        linears = self.block_linears.values()
        biases = sum(outputs for _, outputs in linears) if self.family == "gpt2" else 0
        return sum(inputs * outputs for inputs, outputs in linears) + biases

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: its matrices and its two norms."""
        return self.linear_parameters + 2 * self.norm_parameters

    @property
    def position_parameters(self) -> int:
        """Parameters of the position table; rotary positions have none."""
        return self.context * self.width if self.family == "gpt2" else 0

    @property
    def parameters_non_embedding(self) -> int:
        """Parameters of all blocks and the final norm (Kaplan's N: no embedding, position table or head)."""
        return self.depth * self.block_parameters + self.norm_parameters

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once."""
        return self.parameters_at(self.depth)

    def parameters_at(self, depth: int) -> int:
        """All parameters while the model has `depth` blocks."""
        tables = (1 if self.tied else 2) * self.vocab * self.width + self.position_parameters
        return depth * self.block_parameters + self.norm_parameters + tables


LOGITS_AT_ONCE = {"cpu": 1 << 20, "gpu": 1 << 26}
"""Logits held in memory: on a CPU as many as stay in its cache, on a GPU as many as keep it busy."""

MIN_CHUNK_ROWS = 128
"""With fewer rows of logits at once, matrix products lose more than the cache gains."""


def chunk_rows(vocab: int, *, gpu: bool) -> int:
    """Rows of logits, one a token, that the loss is computed of at once."""
    return max(MIN_CHUNK_ROWS, LOGITS_AT_ONCE["gpu" if gpu else "cpu"] // vocab)

"""The sizes of a model. Needs no torch, so that planning starts quickly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepen.errors import InvalidValueError, look_up
from deepen.model.families import FAMILIES, Family

_SIZES = ("depth", "width", "heads", "kv_heads", "mlp", "context", "vocab")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A decoder at its final depth: the sizes that determine its modules, its FLOPs and its memory.

    Args:
        name: shown to people, and the key of a preset's defaults.
        depth: blocks at the end of training; a run that grows builds shallower models from the same config.
        width: width of the residual stream.
        heads: attention heads, which divide the width among them.
        context: length of the longest sequence, in tokens.
        vocab: rows of the token embedding.
        family: a name in `FAMILIES`.
        kv_heads: key-value heads, each shared by a group of query heads; 0 means as many as `heads`.
        mlp: width inside a block's MLP; 0 means the family's default.
        tied: whether the head shares its matrix with the token embedding.
        rope_base: base of the rotary positions, in families that have them.
        init_std: standard deviation of fresh weights. GPT-2's 0.02 suits its widths; a narrower model needs a
        larger
            one to have activations of the same size (see `presets.scaled_init_std`).
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
        look_up(FAMILIES, self.family, field="family")
        if self.kv_heads == 0:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.mlp == 0 and _is_size(self.width):
            object.__setattr__(self, "mlp", self._family.default_mlp(self.width))
        for size in _SIZES:
            if not _is_size(value := getattr(self, size)):
                raise InvalidValueError(
                    f"is {value!r}: it must be a whole number of at least 1", field=size, value=value
                )
        for number in ("rope_base", "init_std"):
            value = getattr(self, number)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InvalidValueError(f"is {value!r}: it must be a number above 0", field=number, value=value)
        if self.width % self.heads:
            raise InvalidValueError(
                f"{self.width} is not a multiple of heads {self.heads}: heads share the width",
                field="width",
                value=self.width,
            )
        if self.heads % self.kv_heads:
            raise InvalidValueError(
                f"{self.heads} is not a multiple of kv_heads {self.kv_heads}: they share evenly",
                field="heads",
                value=self.heads,
            )
        self._family.check(self)

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def block_linears(self) -> Mapping[str, tuple[int, int]]:
        """The matrices of one block by name, each (inputs, outputs), in the order in which they are applied."""
        return self._family.block_linears(self)

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self._family.norm_parameters(self)

    @property
    def linear_parameters(self) -> int:
        """Parameters of one block's matrices and their biases."""
        return self._family.linear_parameters(self)

    @property
    def block_parameters(self) -> int:
        """Parameters of one block: its matrices and its two norms."""
        return self.linear_parameters + 2 * self.norm_parameters

    @property
    def table_parameters(self) -> int:
        """Parameters of the token embedding, and of a head that is not tied to it."""
        return self.vocab * self.width

    @property
    def position_parameters(self) -> int:
        """Parameters of the position table; 0 if the family has none."""
        return self._family.position_parameters(self)

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
        tables = (1 if self.tied else 2) * self.table_parameters + self.position_parameters
        return depth * self.block_parameters + self.norm_parameters + tables


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value >= 1

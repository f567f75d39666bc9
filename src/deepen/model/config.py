"""The sizes of a model. Needs no torch, so that planning starts quickly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepen.errors import InvalidValueError, look_up
from deepen.model.families import FAMILIES, NORM_POSITIONS, QK_NORMS, Family
from deepen.model.parametrization import PARAMETRIZATIONS
from deepen.model.rope_scaling import RopeScaling

_SIZES = ("depth", "width", "heads", "kv_heads", "mlp", "context", "vocab")
_POSITIVE = ("rope_base", "norm_epsilon", "init_std")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A decoder at its final depth: the sizes that determine its modules, its FLOPs and its memory.

    Args:
        name: shown to people, and the key of a preset's defaults.
        depth: blocks at the end of training; a run that grows builds shallower models from the same config.
        width: width of the residual stream.
        heads: attention heads, which divide the width among them unless `head_dim` is given.
        context: length of the longest sequence, in tokens.
        vocab: rows of the token embedding.
        family: a name in `FAMILIES`.
        kv_heads: key-value heads, each shared by a group of query heads; 0 means as many as `heads`.
        mlp: width inside a block's MLP; 0 means the family's default.
        tied: whether the head shares its matrix with the token embedding.
        rope_base: base of the rotary positions, in families that have them.
        init_std: standard deviation of fresh weights. GPT-2's 0.02 suits its widths; a narrower model needs a
            larger one to have activations of the same size (see `presets.scaled_init_std`).
        head_dim: width of one attention head; 0 means width / heads.
        biases: which linears have biases, one of the family's `biases`; empty means the first of them.
        qk_norm: what the norms of queries and keys span, one of `QK_NORMS`.
        norm_position: where a block's norms are, one of `NORM_POSITIONS`.
        norm_epsilon: what norms add to the variance.
        rope_scaling: how rotary positions are stretched to a longer context; None leaves them as they are.
        parametrization: how scales depend on the depth, one of `PARAMETRIZATIONS`.

    `head_dim` and `biases` are reset to 0 and empty if they are what they would be by default.
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
    head_dim: int = 0
    biases: str = ""
    qk_norm: str = "none"
    norm_position: str = "pre"
    norm_epsilon: float = 1e-5
    rope_scaling: RopeScaling | None = None
    parametrization: str = "standard"

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
        for number in _POSITIVE:
            value = getattr(self, number)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InvalidValueError(f"is {value!r}: it must be a number above 0", field=number, value=value)
        self._check_heads()
        look_up(self._family.biases, self.biases or self._family.default_biases, field="biases")
        if self.biases == self._family.default_biases:
            object.__setattr__(self, "biases", "")
        look_up(QK_NORMS, self.qk_norm, field="qk_norm")
        look_up(NORM_POSITIONS, self.norm_position, field="norm_position")
        look_up(PARAMETRIZATIONS, self.parametrization, field="parametrization")
        self._family.check(self)

    def _check_heads(self) -> None:
        """Check how heads divide the width and share keys."""
        if self.head_dim != 0 and not _is_size(self.head_dim):
            raise InvalidValueError(
                f"is {self.head_dim!r}: it must be a whole number of at least 1, or 0 for width / heads",
                field="head_dim",
                value=self.head_dim,
            )
        if self.head_dim * self.heads == self.width:
            object.__setattr__(self, "head_dim", 0)
        if not self.head_dim and self.width % self.heads:
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

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.head_dim or self.width // self.heads

    @property
    def query_width(self) -> int:
        """Width of all query heads together, and of the attention core's output."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_width

    @property
    def zero_parameters(self) -> tuple[str, ...]:
        """What must be zero for a block to be the identity: the beginnings of its parameters' names.

        What a block adds to the residual stream is proportional to them.
        """
        return self._family.zero_parameters(self)

    def branch_scale(self, depth: int) -> float:
        """What multiplies the output of each attention and MLP while `depth` layers are executed."""
        return PARAMETRIZATIONS[self.parametrization].branch_scale(depth)

    @property
    def output_init_std(self) -> float:
        """Standard deviation of fresh output projections.

        Where no norm follows them, it depends on the *final* depth, so that a block added late has the same
        distribution as one that was there from the start.
        """
        if self.norm_position == "post":
            return self.init_std
        return self.init_std / PARAMETRIZATIONS[self.parametrization].init_divisor(self.depth)

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
        """Parameters of one block: its matrices and its norms."""
        return self.linear_parameters + self.block_norm_parameters

    @property
    def block_norm_parameters(self) -> int:
        """Parameters of one block's norms: its two, and those of queries and keys."""
        return 2 * self.norm_parameters + self._family.qk_norm_parameters(self)

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

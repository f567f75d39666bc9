"""The model families: everything that differs between them except the network code. Needs no torch.

A family computes, from a model's sizes, the matrices of a block, the parameters of norms and tables, and how many
numbers a block stores for its backward pass. To add a family:

1. here, a subclass of `Family` and its entry in `FAMILIES`;
2. a module with its network, a `Decoder`, referred to by `Family.network`;
3. a test of its formulas. Parameters, FLOPs, memory, growth and training are tested for all of `FAMILIES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from deepen.errors import InvalidValueError
from deepen.model.sizes import Sizes

QK_NORMS: Mapping[str, str] = {
    "none": "queries and keys are not normalized",
    "per-head": "one norm for each head's query and one for its key, with the same gains for all heads (Qwen3)",
    "all-heads": "one norm for the queries of all heads together, one for their keys (OLMo 2)",
}
"""What the norms of queries and keys span, by name."""

NORM_POSITIONS: Mapping[str, str] = {
    "pre": "x + attention(norm_1(x)), then x + mlp(norm_2(x))",
    "post": "x + norm_1(attention(x)), then x + norm_2(mlp(x)) (OLMo 2)",
}
"""Where a block's norms are, by name."""


class StoredNumbers(NamedTuple):
    """How many numbers per token a block stores for its backward pass, including its input.

    `fp32` numbers are stored in fp32 at any precision, `operands` in the precision of matrix products.
    """

    fp32: int
    operands: int


class Family(ABC):
    """A family of decoders whose blocks add attention, then an MLP, to the residual stream.

    Attributes:
        name: its name in a `ModelConfig`.
        network: its `Decoder`, as "module:class"; imported only when a network is built, because planning needs no
            torch.
        biases: which linears can have biases: for each choice, by name, the beginnings of their names. The first
            is the default.
        norms_have_biases: whether norms have biases.
        has_position_table: whether position embeddings are learned, one row for each position of the context.
        groups_heads: whether there can be fewer key-value heads than query heads.
        has_options: whether its models can have other values than the usual ones in `_OPTIONS`.
        attention_inputs: the linears of a block that compute queries, keys and values.
        output_projections: the linears of a block that write to the residual stream.
        mlp_inputs: matrix products that feed the MLP's nonlinearity; 2 if it is gated.
        has_fused_norm_on_cpu: whether a norm is a single kernel on a CPU too. If not, it also stores its
            normalized input there when its gain is trained.
    """

    name: ClassVar[str]
    network: ClassVar[str]
    biases: ClassVar[Mapping[str, tuple[str, ...]]]
    norms_have_biases: ClassVar[bool]
    has_position_table: ClassVar[bool]
    groups_heads: ClassVar[bool]
    has_options: ClassVar[bool]
    attention_inputs: ClassVar[tuple[str, ...]]
    output_projections: ClassVar[tuple[str, ...]] = ("attention.out", "mlp.down")
    mlp_inputs: ClassVar[int]
    has_fused_norm_on_cpu: ClassVar[bool]

    def check(self, sizes: Sizes) -> None:
        """Raise an InvalidValueError for sizes that the family does not allow."""
        if not self.groups_heads and sizes.kv_heads != sizes.heads:
            grouping = ", ".join(name for name, family in FAMILIES.items() if family.groups_heads)
            raise InvalidValueError(
                f"is {sizes.kv_heads}, but {self.name} needs as many as heads, {sizes.heads}",
                field="kv_heads",
                value=sizes.kv_heads,
                remedy=f"use `family` {grouping}",
            )
        for option, default in _OPTIONS.items():
            value = getattr(sizes, option)
            if value != default and not self.has_options:
                having = ", ".join(name for name, family in FAMILIES.items() if family.has_options)
                raise InvalidValueError(
                    f"is {value!r}, but {self.name} takes only {default!r}",
                    field=option,
                    value=value,
                    remedy=f"use `family` {having}",
                )

    @abstractmethod
    def default_mlp(self, width: int) -> int:
        """Width inside the MLP if none is given."""

    @abstractmethod
    def block_linears(self, sizes: Sizes) -> Mapping[str, tuple[int, int]]:
        """The matrices of a block by name, each (inputs, outputs), in the order in which they are applied."""

    @abstractmethod
    def shared_numbers(self, sizes: Sizes, context: int) -> int:
        """How many fp32 numbers are computed once per pass for all blocks, such as rotary angles."""

    @abstractmethod
    def stored_numbers(
        self, sizes: Sizes, *, trained: bool, trains_norms: bool, autocast: bool, gpu: bool
    ) -> StoredNumbers:
        """What a block stores if gradients run through it.

        Args:
            sizes: the model's sizes.
            trained: whether its matrices get gradients too, which need their inputs.
            trains_norms: whether its norms get gradients.
            autocast: whether matrix products read bf16 copies.
            gpu: whether it runs on a GPU, where norms are a single kernel in every family.
        """

    @property
    def default_biases(self) -> str:
        """Which linears have biases if a config does not choose."""
        return next(iter(self.biases))

    def has_bias(self, sizes: Sizes, linear: str) -> bool:
        """Whether a linear of a block has a bias."""
        return linear.startswith(self.biases[sizes.biases or self.default_biases])

    def zero_parameters(self, sizes: Sizes) -> tuple[str, ...]:
        """What must be zero for a block to be the identity: the beginnings of its parameters' names.

        Where a norm follows, its gain is zero instead of the output projection: the norm would divide by almost
        zero, and multiply gradients by 1/√epsilon.
        """
        return self.output_projections if sizes.norm_position == "pre" else ("norm_1", "norm_2")

    def norm_parameters(self, sizes: Sizes) -> int:
        """Parameters of one norm: its gains, and its biases if the family has them."""
        return (1 + self.norms_have_biases) * sizes.width

    def qk_norm_parameters(self, sizes: Sizes) -> int:
        """Parameters of a block's norms of queries and keys."""
        widths = {"none": 0, "per-head": 2 * sizes.head_width, "all-heads": sizes.query_width + sizes.key_width}
        return widths[sizes.qk_norm]

    def linear_parameters(self, sizes: Sizes) -> int:
        """Parameters of a block's matrices, and of their biases."""
        linears = self.block_linears(sizes).items()
        return sum((inputs + self.has_bias(sizes, name)) * outputs for name, (inputs, outputs) in linears)

    def position_parameters(self, sizes: Sizes) -> int:
        """Parameters of the position table; 0 if the family has none."""
        return self.has_position_table * sizes.context * sizes.width

    def norm_stores_normalized(self, *, gpu: bool) -> bool:
        """Whether a norm whose gain is trained stores its normalized input too."""
        return not (gpu or self.has_fused_norm_on_cpu)


class Gpt2Family(Family):
    """GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases, GELU, no grouped queries."""

    name = "gpt2"
    network = "deepen.model.gpt2:GPT2"
    biases: ClassVar[Mapping[str, tuple[str, ...]]] = {"all": ("attention.", "mlp.")}
    norms_have_biases = True
    has_position_table = True
    groups_heads = False
    has_options = False
    attention_inputs = ("attention.qkv",)
    mlp_inputs = 1
    has_fused_norm_on_cpu = True

    def default_mlp(self, width: int) -> int:
        """GPT-2's 4 · width."""
        return 4 * width

    def block_linears(self, sizes: Sizes) -> Mapping[str, tuple[int, int]]:
        """Queries, keys and values are one matrix."""
        return {
            "attention.qkv": (sizes.width, 3 * sizes.width),
            "attention.out": (sizes.width, sizes.width),
            "mlp.up": (sizes.width, sizes.mlp),
            "mlp.down": (sizes.mlp, sizes.width),
        }

    def shared_numbers(self, sizes: Sizes, context: int) -> int:
        """GPT-2 shares nothing: its positions are added to the residual stream."""
        return 0

    def stored_numbers(
        self, sizes: Sizes, *, trained: bool, trains_norms: bool, autocast: bool, gpu: bool
    ) -> StoredNumbers:
        """Two norms with mean and deviation; q, k, v, attention's output and log-sum-exp; the GELU's input."""
        operands = 4 * sizes.width + sizes.mlp
        if trained:
            operands += 2 * sizes.width + sizes.mlp  # inputs of qkv and up; of down
        return StoredNumbers(fp32=2 * sizes.width + 4 + sizes.heads, operands=operands)


class LlamaFamily(Family):
    """Llama (Touvron et al. 2023): rotary positions, RMSNorm, SwiGLU, grouped-query attention.

    With its options it is also Mistral, Qwen2, Qwen3, OLMo 2 and SmolLM2.
    """

    name = "llama"
    network = "deepen.model.llama:Llama"
    attention_inputs = ("attention.q", "attention.k", "attention.v")
    biases: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "none": (),
        "qkv": attention_inputs,
        "attention": ("attention.",),
        "all": ("attention.", "mlp."),
    }
    norms_have_biases = False
    has_position_table = False
    groups_heads = True
    has_options = True
    mlp_inputs = 2
    has_fused_norm_on_cpu = False

    def check(self, sizes: Sizes) -> None:
        """Check also that the head width is even, because rotary positions rotate pairs."""
        super().check(sizes)
        if sizes.head_width % 2:
            has_own = sizes.head_width * sizes.heads != sizes.width
            raise InvalidValueError(
                f"is {sizes.head_width}: rotary positions rotate pairs, so it must be even"
                if has_own
                else f"/ heads is {sizes.head_width}: rotary positions rotate pairs, so it must be even",
                field="head_dim" if has_own else "width",
                value=sizes.head_width if has_own else sizes.width,
            )

    def default_mlp(self, width: int) -> int:
        """8/3 · width, rounded up to a multiple of 8: three matrices with about as many weights as GPT-2's two."""
        return -(-8 * width // 24) * 8

    def block_linears(self, sizes: Sizes) -> Mapping[str, tuple[int, int]]:
        """Keys and values are narrower with grouped queries; the MLP has a gate."""
        return {
            "attention.q": (sizes.width, sizes.query_width),
            "attention.k": (sizes.width, sizes.key_width),
            "attention.v": (sizes.width, sizes.key_width),
            "attention.out": (sizes.query_width, sizes.width),
            "mlp.gate": (sizes.width, sizes.mlp),
            "mlp.up": (sizes.width, sizes.mlp),
            "mlp.down": (sizes.mlp, sizes.width),
        }

    def shared_numbers(self, sizes: Sizes, context: int) -> int:
        """Cosine and sine of each position's angles, for both numbers of a pair."""
        return 2 * context * sizes.head_width

    def stored_numbers(
        self, sizes: Sizes, *, trained: bool, trains_norms: bool, autocast: bool, gpu: bool
    ) -> StoredNumbers:
        """Two norms with a root mean square; q, k, v, attention's output and log-sum-exp; gate, its SiLU, up.

        Norms of queries and keys store their inputs too.
        """
        qk = 0 if sizes.qk_norm == "none" else sizes.query_width + sizes.key_width
        qk_norms = {"none": 0, "per-head": sizes.heads + sizes.kv_heads, "all-heads": 2}[sizes.qk_norm]
        fp32 = 2 * sizes.width + qk + 2 + qk_norms + sizes.heads
        operands = 2 * sizes.query_width + 2 * sizes.key_width + 3 * sizes.mlp
        if trains_norms:
            fp32 += self.norm_stores_normalized(gpu=gpu) * (2 * sizes.width + qk)
        if trained:
            inputs = 5 if autocast else 2  # of q, k, v, gate and up; autocast makes a copy for each of them
            operands += inputs * sizes.width + sizes.mlp  # and the input of down
        return StoredNumbers(fp32=fp32, operands=operands)


_OPTIONS: Mapping[str, object] = {
    "head_dim": 0,
    "qk_norm": "none",
    "norm_position": "pre",
    "rope_base": 10_000.0,
    "rope_scaling": None,
}
"""The options that only some families have, with their defaults."""

FAMILIES: dict[str, Family] = {family.name: family for family in (Gpt2Family(), LlamaFamily())}
"""All families by name."""

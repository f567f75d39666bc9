"""The model families: everything that differs between them except the network code. Needs no torch.

A family computes, from a model's sizes, the matrices of a block, the parameters of norms and tables, and how many
numbers a block stores for its backward pass. To add a family:

1. here, a subclass of `Family` and its entry in `FAMILIES`;
2. a module with its network, a `Decoder`, referred to by `Family.network`;
3. a test of its formulas. Parameters, FLOPs, memory, growth and training are tested for all of `FAMILIES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

from deepen.errors import InvalidValueError


class Sizes(Protocol):
    """The sizes of a model from which a family computes; `ModelConfig` has them."""

    @property
    def width(self) -> int:
        """Width of the residual stream."""

    @property
    def heads(self) -> int:
        """Attention heads."""

    @property
    def kv_heads(self) -> int:
        """Key-value heads."""

    @property
    def head_width(self) -> int:
        """Width of one head."""

    @property
    def mlp(self) -> int:
        """Width inside the MLP."""

    @property
    def context(self) -> int:
        """Length of the longest sequence, in tokens."""


class StoredNumbers(NamedTuple):
    """How many numbers per token a block stores for its backward pass, including its input.

    `fp32` numbers are stored in fp32 at any precision, `operands` in the precision of matrix products.
    """

    fp32: int
    operands: int


class Family(ABC):
    """A family of decoders with pre-norm blocks: x + attention(norm_1(x)), then x + mlp(norm_2(x)).

    Attributes:
        name: its name in a `ModelConfig`.
        network: its `Decoder`, as "module:class"; imported only when a network is built, because planning needs no
            torch.
        has_biases: whether linears and norms have biases.
        has_position_table: whether position embeddings are learned, one row for each position of the context.
        groups_heads: whether there can be fewer key-value heads than query heads.
        output_projections: the linears of a block that write to the residual stream. If they are zero, the block
            is the identity.
        mlp_inputs: matrix products that feed the MLP's nonlinearity; 2 if it is gated.
        has_fused_norm_on_cpu: whether a norm is a single kernel on a CPU too. If not, it also stores its
        normalized
            input there when its gain is trained.
    """

    name: ClassVar[str]
    network: ClassVar[str]
    has_biases: ClassVar[bool]
    has_position_table: ClassVar[bool]
    groups_heads: ClassVar[bool]
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
    def stored_numbers(self, sizes: Sizes, *, trained: bool, autocast: bool, gpu: bool) -> StoredNumbers:
        """What a block stores if gradients run through it.

        Args:
            sizes: the model's sizes.
            trained: whether its own weights get gradients too, which need the inputs of its matrices.
            autocast: whether matrix products read bf16 copies.
            gpu: whether it runs on a GPU, where norms are a single kernel in every family.
        """

    def norm_parameters(self, sizes: Sizes) -> int:
        """Parameters of one norm: its gains, and its biases if the family has them."""
        return (1 + self.has_biases) * sizes.width

    def linear_parameters(self, sizes: Sizes) -> int:
        """Parameters of a block's matrices, and of their biases if the family has them."""
        linears = self.block_linears(sizes).values()
        return sum((inputs + self.has_biases) * outputs for inputs, outputs in linears)

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
    has_biases = True
    has_position_table = True
    groups_heads = False
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

    def stored_numbers(self, sizes: Sizes, *, trained: bool, autocast: bool, gpu: bool) -> StoredNumbers:
        """Two norms with mean and deviation; q, k, v, attention's output and log-sum-exp; the GELU's input."""
        operands = 4 * sizes.width + sizes.mlp
        if trained:
            operands += 2 * sizes.width + sizes.mlp  # inputs of qkv and up; of down
        return StoredNumbers(fp32=2 * sizes.width + 4 + sizes.heads, operands=operands)


class LlamaFamily(Family):
    """Llama (Touvron et al. 2023): rotary positions, RMSNorm, no biases, SwiGLU, grouped-query attention."""

    name = "llama"
    network = "deepen.model.llama:Llama"
    has_biases = False
    has_position_table = False
    groups_heads = True
    mlp_inputs = 2
    has_fused_norm_on_cpu = False

    def check(self, sizes: Sizes) -> None:
        """Check also that the head width is even, because rotary positions rotate pairs."""
        super().check(sizes)
        if sizes.head_width % 2:
            raise InvalidValueError(
                f"/ heads is {sizes.head_width}: rotary positions rotate pairs, so it must be even",
                field="width",
                value=sizes.width,
            )

    def default_mlp(self, width: int) -> int:
        """8/3 · width, rounded up to a multiple of 8: three matrices with about as many weights as GPT-2's two."""
        return -(-8 * width // 24) * 8

    def block_linears(self, sizes: Sizes) -> Mapping[str, tuple[int, int]]:
        """Keys and values are narrower with grouped queries; the MLP has a gate."""
        keys = sizes.kv_heads * sizes.head_width
        return {
            "attention.q": (sizes.width, sizes.width),
            "attention.k": (sizes.width, keys),
            "attention.v": (sizes.width, keys),
            "attention.out": (sizes.width, sizes.width),
            "mlp.gate": (sizes.width, sizes.mlp),
            "mlp.up": (sizes.width, sizes.mlp),
            "mlp.down": (sizes.mlp, sizes.width),
        }

    def shared_numbers(self, sizes: Sizes, context: int) -> int:
        """Cosine and sine of each position's angles."""
        return context * sizes.head_width

    def stored_numbers(self, sizes: Sizes, *, trained: bool, autocast: bool, gpu: bool) -> StoredNumbers:
        """Two norms with a root mean square; q, k, v, attention's output and log-sum-exp; gate, its SiLU, up."""
        keys = sizes.kv_heads * sizes.head_width
        fp32 = 2 * sizes.width + 2 + sizes.heads
        operands = 2 * sizes.width + 2 * keys + 3 * sizes.mlp
        if trained:
            fp32 += self.norm_stores_normalized(gpu=gpu) * 2 * sizes.width
            inputs = 5 if autocast else 2  # of q, k, v, gate and up; autocast makes a copy for each of them
            operands += inputs * sizes.width + sizes.mlp  # and the input of down
        return StoredNumbers(fp32=fp32, operands=operands)


FAMILIES: dict[str, Family] = {family.name: family for family in (Gpt2Family(), LlamaFamily())}
"""All families by name."""

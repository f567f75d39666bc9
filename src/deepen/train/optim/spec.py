"""Optimizers as values: their options, parameter groups, state and costs. Needs no torch.

Studies, plans and keys refer to an optimizer by its spec; `make.py` turns a spec into a torch optimizer. To add an
optimizer:

1. here, a subclass of `OptimizerSpec` and its entry in `OPTIMIZERS`;
2. a module beside this one with the torch implementation;
3. in `make.py`, an entry that connects the two.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost, OrthogonalCost
from deepen.errors import InvalidValueError, is_number, is_whole, join_or, look_up

STATE_PRECISIONS = ("fp32", "bf16")

MAX_BF16_BETA = 0.99
"""The largest beta for bf16 moments: the spacing of bf16 numbers is up to 1/128 of their size, and a change of
less than half of that is rounded away."""

MAX_ITERATIONS = 99
"""The most Newton–Schulz iterations that torch's Muon takes."""


class ParameterGroup(NamedTuple):
    """Parameters, by name, that are updated in the same way.

    `options` has torch's names, `state` the names of the tensors that are kept for each parameter between steps.
    `lr_factor` is their rate ÷ the schedule's rate.
    """

    names: Sequence[str]
    options: Mapping[str, Any]
    state: tuple[str, ...]
    lr_factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec(ABC):
    """An optimizer's kind and options. Make one with `OptimizerSpec.adamw(...)` or `OptimizerSpec.muon(...)`.

    `kind` is the optimizer's name in JSON. `can_hold_back` is whether its step changes nothing where a flag on the
    device says so (`make.py`). `state_precision` is the type in which AdamW's moments are stored between steps.
    """

    kind: ClassVar[str]
    can_hold_back: ClassVar[bool] = True
    adamw: ClassVar[type["AdamWSpec"]]
    muon: ClassVar[type["MuonSpec"]]

    state_precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.state_precision not in STATE_PRECISIONS:
            raise InvalidValueError(
                f"{self.state_precision!r} is unknown: use {join_or(STATE_PRECISIONS)}",
                field="state_precision",
                value=self.state_precision,
                allowed=STATE_PRECISIONS,
            )

    @property
    @abstractmethod
    def cost(self) -> OptimizerCost:
        """Bytes and FLOPs per trained parameter."""

    @abstractmethod
    def groups(self, dimensions: Mapping[str, int], *, branch_scale: float = 1.0) -> list[ParameterGroup]:
        """Divide the trained parameters into groups.

        Args:
            dimensions: the number of dimensions of each parameter, by name.
            branch_scale: what multiplies the output of residual branches, and so the gradients of blocks; what is
                compared with these gradients is multiplied by it too.
        """

    def as_kind(self, kind: str) -> "OptimizerSpec":
        """The optimizer of another kind, with the options that both have."""
        spec = look_up(OPTIMIZERS, kind, field="optimizer")
        shared = {option.name for option in fields(self)} & {option.name for option in fields(spec)}
        return spec(**{name: getattr(self, name) for name in shared})

    def to_json(self) -> dict[str, Any]:
        """Kind and options in JSON's types."""
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "OptimizerSpec":
        """The spec that `to_json` described."""
        options = dict(value)
        kind = options.pop("kind", None)
        if kind not in OPTIMIZERS:
            raise InvalidValueError(
                f"kind {kind!r} is unknown: use {join_or(OPTIMIZERS)}",
                field="optimizer",
                value=kind,
                allowed=OPTIMIZERS,
            )
        known = [option.name for option in fields(OPTIMIZERS[kind])]
        if unknown := options.keys() - set(known):
            raise InvalidValueError(
                f"{kind} has no option {min(unknown)!r}: use {join_or(known)}",
                field="optimizer",
                value=min(unknown),
                allowed=known,
            )
        return OPTIMIZERS[kind](**options)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWSpec(OptimizerSpec):
    """AdamW: Adam with decoupled weight decay. Matrices and tables decay; vectors (biases, norms) do not.

    With `state_precision` "bf16" the two moments are stored in bf16 between steps, 4 bytes per parameter instead
    of 8; updates are computed in fp32.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101); most GPT-2 trainers use these groups.
    """

    kind: ClassVar[str] = "adamw"

    weight_decay: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        OptimizerSpec.__post_init__(self)  # no super(): dataclasses with slots cannot call it without arguments
        if not (is_number(self.weight_decay) and self.weight_decay >= 0):
            raise _out_of_range("weight_decay", self.weight_decay, "it must be a number of 0 or more")
        for name in ("beta_1", "beta_2"):
            beta = getattr(self, name)
            if not (is_number(beta) and 0 <= beta < 1):
                raise _out_of_range(name, beta, "it must be at least 0 and below 1")
            if self.state_precision == "bf16" and beta > MAX_BF16_BETA:
                raise _out_of_range(
                    name,
                    beta,
                    f"bf16 moments cannot change by steps so small; use at most {MAX_BF16_BETA}, or "
                    "`state_precision` fp32",
                )
        if not (is_number(self.epsilon) and self.epsilon > 0):
            raise _out_of_range("epsilon", self.epsilon, "it must be a number above 0")

    @property
    def cost(self) -> OptimizerCost:
        """Bytes and FLOPs. With bf16 moments, a step copies the moments of one tensor at a time to fp32."""
        if self.state_precision == "bf16":
            return replace(ADAMW_COST, state_bytes=4, working_bytes=8)
        return ADAMW_COST

    def groups(self, dimensions: Mapping[str, int], *, branch_scale: float = 1.0) -> list[ParameterGroup]:
        """Matrices and tables with weight decay, vectors without; blocks with an ε that fits their gradients."""
        groups: dict[tuple[float, float], list[str]] = {}
        for name, number in dimensions.items():
            decay = self.weight_decay if number >= 2 else 0.0
            epsilon = self.epsilon * branch_scale if name.startswith("blocks.") else self.epsilon
            groups.setdefault((decay, epsilon), []).append(name)
        return [
            ParameterGroup(names, {"weight_decay": decay, "eps": epsilon}, ("exp_avg", "exp_avg_sq", "step"))
            for (decay, epsilon), names in groups.items()
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class MuonSpec(AdamWSpec):
    """Muon for the blocks' matrices, AdamW for everything else: embeddings, head, norms and biases.

    Muon keeps one fp32 momentum for a matrix, 4 bytes per parameter. Its updates have about the size of AdamW's,
    so both follow one learning rate. `weight_decay` is that of both; AdamW's other options are as in `AdamWSpec`.

    Args:
        momentum: decay of the momentum, which is applied as Nesterov's.
        iterations: Newton–Schulz iterations that orthogonalize an update.
        lr_factor: the rate of the matrices ÷ the rate of everything else.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the size of updates, and weight decay: Liu et
    al. 2025 (arXiv 2502.16982, section 2.2).
    """

    kind: ClassVar[str] = "muon"
    can_hold_back: ClassVar[bool] = False  # torch's Muon has no such flag

    momentum: float = 0.95
    iterations: int = 5
    lr_factor: float = 1.0

    def __post_init__(self) -> None:
        AdamWSpec.__post_init__(self)
        if not (is_number(self.momentum) and 0 <= self.momentum < 1):
            raise _out_of_range("momentum", self.momentum, "it must be at least 0 and below 1")
        if not (is_whole(self.iterations) and 1 <= self.iterations <= MAX_ITERATIONS):
            raise _out_of_range("iterations", self.iterations, f"it must be 1 to {MAX_ITERATIONS}")
        if not (is_number(self.lr_factor) and self.lr_factor > 0):
            raise _out_of_range("lr_factor", self.lr_factor, "it must be a number above 0")

    @property
    def cost(self) -> OptimizerCost:
        """AdamW's, and of the blocks' matrices: bytes, pointwise FLOPs, and the iterations' matrix products.

        FLOPs: momentum 3, Nesterov's average 3, norm 2 and division 1, weight decay 1, update 2.
        """
        matrices = OrthogonalCost(state_bytes=4, flops=12, iterations=self.iterations)
        return replace(super(MuonSpec, self).cost, name=self.kind, block_matrices=matrices)

    def groups(self, dimensions: Mapping[str, int], *, branch_scale: float = 1.0) -> list[ParameterGroup]:
        """The blocks' matrices for Muon, which ignores the size of gradients; the rest as for AdamW."""
        matrices = [name for name, number in dimensions.items() if number == 2 and name.startswith("blocks.")]
        options = {
            "weight_decay": self.weight_decay,
            "momentum": self.momentum,
            "ns_steps": self.iterations,
            "adjust_lr_fn": "match_rms_adamw",
        }
        others = {name: number for name, number in dimensions.items() if name not in matrices}
        rest = AdamWSpec.groups(self, others, branch_scale=branch_scale)
        return [ParameterGroup(matrices, options, ("momentum_buffer",), self.lr_factor), *rest]


OptimizerSpec.adamw, OptimizerSpec.muon = AdamWSpec, MuonSpec

OPTIMIZERS: dict[str, type[OptimizerSpec]] = {spec.kind: spec for spec in (AdamWSpec, MuonSpec)}
"""Every optimizer by its kind."""


def _out_of_range(name: str, value: float, remedy: str) -> InvalidValueError:
    return InvalidValueError(f"is {value!r}", field=name, value=value, remedy=remedy)

"""Settings of a training step: optimizer, clipping, precision, micro-batches. Needs no torch."""

from collections.abc import Collection
from dataclasses import dataclass, field

from deepen.errors import InvalidValueError, is_number, is_whole, join_or
from deepen.train.optim.spec import OptimizerSpec

PRECISIONS = ("fp32", "bf16")
AUTO = "auto"
"""Precision: the faster one on this machine, measured when a study begins and then recorded. Compile: on a GPU."""

WITHIN_NODE = "node"
"""Divide a model among the processes of each machine, so that every machine has a copy of it."""

ON_SPIKE = ("warn", "skip", "stop")
CUDA_GRAPHS = "cuda-graphs"
COMPILE = ("no", AUTO, "yes", "max-autotune", CUDA_GRAPHS)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of the training step, the same for every arm of a study.

    Args:
        optimizer: the optimizer and its options.
        max_grad_norm: gradients are clipped to this norm; None means no clipping.
        precision: precision of matrix products; weights and gradients are always fp32.
        micro_batch_tokens: tokens that a device computes at once; 0 lets the device decide
            (`compute.memory.choose_micro_batch`). Changes results by rounding only, and may differ where a run
            continues, perhaps on a smaller device.
        compile: how blocks are compiled (see `train/compiling.py`); `auto` compiles them on a GPU that can.
            Changes results by rounding only. A run may continue with `auto` instead of `no`, or the reverse.
        activation_checkpointing: each block stores only its input and runs forward twice: less memory, more
            FLOPs, the same results. The FLOPs count, so a study keeps its choice.
        checkpoint_to_fit: do that in segments that would not fit into a GPU's memory otherwise, with one sequence
            at a time. The FLOPs that are counted are those without it, as on a larger GPU.
        reduce_once: where a model is sharded, keep whole gradients until the last micro-batch of a step, which
            sends them once; None: on GPUs that have the memory. Changes results by rounding only.
        on_spike: what to do with a step whose loss is a spike (see `train/health/spikes.py`): `warn` takes it and
            logs a warning, `skip` leaves out its update, `stop` ends the run before it.
    """

    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec.adamw)
    max_grad_norm: float | None = 1.0
    precision: str = "fp32"
    micro_batch_tokens: int = field(default=0, metadata={"identity": False})
    compile: str = field(default=AUTO, metadata={"identity": "rounding", "same": {AUTO: "no"}})
    activation_checkpointing: bool = field(default=False, metadata={"identity": "rounding"})
    checkpoint_to_fit: bool = field(default=True, metadata={"identity": False})
    reduce_once: bool | None = field(default=None, metadata={"identity": False})
    on_spike: str = field(default="warn", metadata={"same": {"stop": "warn"}})

    @property
    def uses_bf16(self) -> bool:
        """Whether matrix products are bf16, by autocast."""
        return self.precision == "bf16"

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, OptimizerSpec):
            raise InvalidValueError(
                f"is {self.optimizer!r}, not an OptimizerSpec",
                field="optimizer",
                value=self.optimizer,
                remedy="use OptimizerSpec.adamw(...) or OptimizerSpec.muon(...)",
            )
        for name, allowed in (
            ("precision", (*PRECISIONS, AUTO)),
            ("on_spike", ON_SPIKE),
            ("compile", COMPILE),
        ):
            _check_choice(name, getattr(self, name), allowed)
        if self.max_grad_norm is not None:
            number = self.max_grad_norm
            _check("max_grad_norm", number, is_number(number) and number > 0, "a number above 0, or None")
        tokens = self.micro_batch_tokens
        _check("micro_batch_tokens", tokens, is_whole(tokens) and tokens >= 0, "a whole number of 0 or more")
        for name in ("activation_checkpointing", "checkpoint_to_fit"):
            _check(name, getattr(self, name), isinstance(getattr(self, name), bool), "True or False")
        once = self.reduce_once
        _check("reduce_once", once, once is None or isinstance(once, bool), "True, False or None")


def _check(name: str, value: object, is_right: bool, wanted: str) -> None:
    if not is_right:
        raise InvalidValueError(f"is {value!r}: it must be {wanted}", field=name, value=value)


def check_cuda_graphs(settings: TrainSettings, *, sharded: bool) -> None:
    """Raise an InvalidValueError if blocks are to be CUDA graphs and something else does not allow that.

    Args:
        settings: settings of a step.
        sharded: whether weights are sharded, and gathered into new memory for each pass.
    """
    if settings.compile != CUDA_GRAPHS:
        return
    if sharded:
        raise InvalidValueError(
            f"{CUDA_GRAPHS} needs weights that stay in their memory; sharded ones are gathered anew for each pass",
            field="compile",
            value=CUDA_GRAPHS,
            remedy="use `compile` yes, or do not shard",
        )
    if settings.activation_checkpointing:  # pytorch issue 154306
        raise InvalidValueError(
            f"{CUDA_GRAPHS} needs the activations of all blocks, and `activation_checkpointing` drops them",
            field="compile",
            value=CUDA_GRAPHS,
            remedy="use `compile` yes, or leave `activation_checkpointing` out",
        )


def _check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidValueError(
            f"{value!r} is unknown: use {join_or(allowed)}", field=name, value=value, allowed=allowed
        )

"""How a step is taken: optimizer, clipping, precision, micro-batches."""

import math
from dataclasses import asdict, dataclass
from typing import Any

PRECISIONS = ("fp32", "bf16")
AUTO = "auto"
"""The precision that is the faster one here; a study remembers which that was when it began."""

MOMENT_PRECISIONS = ("fp32", "bf16")
COARSEST_BETA = 0.99
"""The largest beta for bf16 moments: their steps are up to 1/128, and a move of less than half a step is lost."""

ON_SPIKE = ("warn", "skip", "stop")
COMPILE = ("no", "auto", "yes", "max-autotune", "cuda-graphs")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of the optimizer step, the same for every arm of a study.

    `max_grad_norm` None means no clipping. `micro_batch_tokens` 0 means as many as keep the logits under
    1 GiB; it, like `compile` (per block; see `train/compiling.py`), moves results by rounding only. With
    `activation_checkpointing` each block stores its input alone and runs forward twice: less memory, more
    FLOPs, the same results. `on_spike` says what becomes of a step whose loss jumps (see `train/health.py`):
    `warn` takes it and says so, `skip` does not update by it, `stop` ends the run before it. `moment_precision`
    is that in which AdamW's moments are kept between steps; it computes in the weights' own.
    """

    weight_decay: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    precision: str = "fp32"
    moment_precision: str = "fp32"
    micro_batch_tokens: int = 0
    compile: str = "no"
    activation_checkpointing: bool = False
    on_spike: str = "warn"

    def __post_init__(self) -> None:
        if self.precision not in (*PRECISIONS, AUTO):
            raise ValueError(f"precision {self.precision!r} is unknown: use {', '.join((*PRECISIONS, AUTO))}")
        if self.moment_precision not in MOMENT_PRECISIONS:
            known = ", ".join(MOMENT_PRECISIONS)
            raise ValueError(f"moment_precision {self.moment_precision!r} is unknown: use {known}")
        if self.on_spike not in ON_SPIKE:
            raise ValueError(f"on_spike {self.on_spike!r} is unknown: use {', '.join(ON_SPIKE)}")
        if self.compile not in COMPILE:
            raise ValueError(f"compile {self.compile!r} is unknown: use {', '.join(COMPILE)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}: it must be a number of 0 or more")
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1")
            if self.moment_precision == "bf16" and getattr(self, name) > COARSEST_BETA:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: bf16 moments cannot move by so small steps; use at most "
                    f"{COARSEST_BETA}, or moment_precision fp32"
                )
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon is {self.epsilon}: it must be a number above 0")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}: it must be above 0, or none")
        if self.micro_batch_tokens < 0:
            raise ValueError(f"micro_batch_tokens is {self.micro_batch_tokens}: it must be 0 or more")

    def described(self) -> dict[str, Any]:
        """The settings in JSON's types; `on_spike` only where it is `skip`, what came later only where it is used.

        What `warn` trains `stop` would have trained too, as far as it goes: a run may go on with the other.
        """
        settings = asdict(self)
        if self.on_spike != "skip":
            del settings["on_spike"]
        if self.moment_precision == "fp32":
            del settings["moment_precision"]
        return settings

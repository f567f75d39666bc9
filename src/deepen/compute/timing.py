"""The seconds of a training step on a device, as a sum of ingredients that `deepen bench` measured.

The ingredients are those of the ledger (`compute/ledger.py`): each block in its role, the head with or without
updates, and a base for every step. They are fitted to measured steps, so they include everything that takes time
on a device (memory traffic, kernel launches, Python).

    seconds per token, in µs        base   a block: forward only   gradients through   trained   head trained
    fitted                           7.0                     1.0                 2.5       3.0            0.5

    12 blocks, all trained:           7.0 + 12 · 3.0 + 0.5          = 43.5
    the top 3 trained, cut below:     7.0 +  9 · 1.0 + 3 · 3.0      = 25.0
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepen.compute.ledger import Role, role_counts
from deepen.compute.memory_settings import BYTES
from deepen.errors import InvalidValueError, join_or
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

OUTSIDE_BLOCKS = ("head_frozen", "head_trained", "base")
"""The ingredients of a step outside its blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredPhase:
    """A phase, what it trained, and the seconds per token that its steps took."""

    phase: Phase
    trained: TrainedParts
    seconds_per_token: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds per token of each ingredient of a training step on a device.

    `block` gives the seconds of one block in each role; a trained block includes its share of the optimizer.
    `base` is
    the rest of a step: embeddings, data, Python. Every step has a head, so measurements cannot separate it from
    the
    base: the cheaper of `head_frozen` and `head_trained` is 0, and the other is the difference.

    The costs of a step that do not depend on its size are divided by `batch_tokens`, so a timing is valid for that
    batch only; `optimizer` is the name of the one that took them.
    """

    device: str
    precision: str
    model: ModelConfig
    context: int
    batch_tokens: int
    block: Mapping[Role, float]
    head_frozen: float
    head_trained: float
    base: float
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        if self.precision not in BYTES:
            raise InvalidValueError(
                f"{self.precision!r} is unknown: use {join_or(BYTES)}",
                field="precision",
                value=self.precision,
                allowed=BYTES,
            )
        for name in ("context", "batch_tokens"):
            if (value := getattr(self, name)) < 1:
                raise InvalidValueError(f"is {value}: it must be at least 1", field=name, value=value)
        ingredients: dict[str, Any] = {str(role): self.block.get(role) for role in Role}
        ingredients |= {name: getattr(self, name) for name in OUTSIDE_BLOCKS}
        for name, seconds in ingredients.items():
            if not is_finite_number(seconds) or seconds < 0:
                raise InvalidValueError(
                    f"seconds of {name!r} are {seconds!r}: they must be a number of at least 0", value=seconds
                )
        if not self.block[Role.TRAINED] + self.head_trained + self.base > 0:
            raise InvalidValueError("full training takes 0 seconds: steps that take no time were not measured")

    def seconds_per_token(self, trained: TrainedParts) -> float:
        """Seconds per token while `trained` is trained, at the context and batch of the measurement."""
        blocks = sum(count * self.block[role] for role, count in role_counts(trained).items())
        return self.base + blocks + (self.head_trained if trained.head else self.head_frozen)

    def check(self, model: ModelConfig, context: int, batch_tokens: int) -> None:
        """Raise an InvalidValueError unless this was measured with the same sizes, context and batch."""
        measured, requested = (asdict(config) | {"name": ""} for config in (self.model, model))
        differences = ", ".join(
            f"{size} {requested[size]}, not {measured[size]}"
            for size in requested
            if measured[size] != requested[size]
        )
        if not differences and (self.context, self.batch_tokens) == (context, batch_tokens):
            return
        sizes = "the sizes of the model, and with"
        if model.name in PRESETS:
            sizes = f"`model` {model.name}"
            if PRESETS[model.name].vocab != model.vocab:
                sizes += f" `vocab` {model.vocab}"
        raise InvalidValueError(
            f"measured {self.model.name} at context {self.context} with {self.batch_tokens:,} tokens a step, not "
            f"{model.name} at context {context} with {batch_tokens:,}"
            f"{f' ({differences})' if differences else ''}",
            field="bench",
            remedy=f"run a bench with {sizes} `context` {context} `batch_tokens` {batch_tokens}",
        )

    def to_json(self) -> dict[str, Any]:
        """The timing as JSON values, in the form that `bench_file.read_timing` reads."""
        return {
            "device": self.device,
            "precision": self.precision,
            "model": asdict(self.model),
            "context": self.context,
            "batch_tokens": self.batch_tokens,
            "optimizer": self.optimizer,
            "timing": self.ingredients_to_json(),
        }

    def ingredients_to_json(self) -> dict[str, Any]:
        """The seconds of each ingredient as JSON values."""
        block = {str(role): self.block[role] for role in Role}
        return {"block": block, **{name: getattr(self, name) for name in OUTSIDE_BLOCKS}}


def fit_timing(
    measured: Sequence[MeasuredPhase],
    *,
    device: str,
    precision: str,
    model: ModelConfig,
    context: int,
    batch_tokens: int,
    optimizer: str = "adamw",
) -> Timing:
    """Fit ingredients of at least 0 whose sums come nearest to the measured seconds.

    Residuals are relative, so that a shallow phase counts as much as a deep one. An ingredient that occurs in no
    phase is 0.

    Source: non-negative least squares, Lawson & Hanson 1974 (Solving Least Squares Problems, chapter 23).
    """
    from scipy.optimize import nnls  # takes half a second to import, and planning does not need it

    rows = []
    for phase in measured:
        counts, head = role_counts(phase.trained), phase.trained.head
        ingredients = (*(counts[role] for role in Role), not head, head)  # the base is in both heads
        rows.append([count / phase.seconds_per_token for count in ingredients])
    *blocks, frozen, trained = (float(seconds) for seconds in nnls(rows, [1.0] * len(rows), maxiter=100)[0])
    # If only one kind of head was measured, it is part of the base, and the other is unknown.
    heads = {phase.trained.head for phase in measured}
    base = min(frozen, trained) if len(heads) == 2 else max(frozen, trained)
    return Timing(
        device=device,
        precision=precision,
        model=model,
        context=context,
        batch_tokens=batch_tokens,
        block=dict(zip(Role, blocks, strict=True)),
        head_frozen=max(0.0, frozen - base),
        head_trained=max(0.0, trained - base),
        base=base,
        optimizer=optimizer,
    )


def misfit(timing: Timing, measured: Sequence[MeasuredPhase]) -> float:
    """The largest relative error of the fit over the measured phases."""
    return max(abs(timing.seconds_per_token(phase.trained) / phase.seconds_per_token - 1) for phase in measured)


def is_finite_number(value: Any) -> bool:
    """Whether a value is a finite number; JSON allows NaN, infinity and integers beyond any float."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False

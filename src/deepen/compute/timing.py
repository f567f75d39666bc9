"""Seconds: what a training step takes on a device, as a sum of ingredients that `deepen bench` measured.

The same questions that price a phase in FLOPs (see `compute.ledger`) say which ingredients its step has: each
block in its role, the head with or without updates, and a base that every step pays. The ingredients are
fitted to measured steps, so whatever the device does badly, memory traffic, launches, Python, is in them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from deepen.compute.ledger import Role, role_counts
from deepen.compute.memory_settings import BYTES
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredPhase:
    """A phase, what it trained, and the seconds per token that its steps took."""

    phase: Phase
    trained: TrainedParts
    seconds_per_token: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What a training step takes on a device, as `deepen bench` measured it: seconds per token of each ingredient.

    `block` is one block in each role, its share of the optimizer included where it is trained. `base` is what
    a step takes besides: embeddings, data, Python. No step goes without a head, so steps cannot tell it from
    the base: the cheaper of `head_frozen` and `head_trained` counts as 0, the other is what it adds to that.

    What a step takes whatever its size is spread over `batch_tokens`, so another batch takes other seconds.
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

    def __post_init__(self) -> None:
        if self.precision not in BYTES:
            raise ValueError(f"precision {self.precision!r} is unknown: use {' or '.join(BYTES)}")
        for name in ("context", "batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        ingredients: dict[str, Any] = {str(role): self.block.get(role) for role in Role}
        ingredients |= {name: getattr(self, name) for name in _AROUND}
        for name, seconds in ingredients.items():
            if not _is_number(seconds) or not seconds >= 0:
                raise ValueError(f"seconds of {name!r} are {seconds!r}: they must be a number of at least 0")
        if not self.block[Role.TRAINED] + self.head_trained + self.base > 0:
            raise ValueError("full training takes 0 seconds: steps that take no time were not measured")

    def seconds_per_token(self, trained: TrainedParts) -> float:
        """Seconds per token while `trained` is trained, with the context and the batch that were benched."""
        blocks = sum(count * self.block[role] for role, count in role_counts(trained).items())
        return self.base + blocks + (self.head_trained if trained.head else self.head_frozen)

    def check(self, model: ModelConfig, context: int, batch_tokens: int) -> None:
        """Raise a ValueError unless this was measured with the same sizes, context and batch."""
        benched, asked = (asdict(each) | {"name": ""} for each in (self.model, model))
        sizes = ", ".join(f"{key} {asked[key]}, not {benched[key]}" for key in asked if benched[key] != asked[key])
        if sizes or (self.context, self.batch_tokens) != (context, batch_tokens):
            preset = PRESETS.get(model.name)
            options = f"--model {model.name}" if preset else "with the model's own options and"
            if preset and preset.vocab != model.vocab:
                options += f" --vocab {model.vocab}"
            raise ValueError(
                f"the bench measured {self.model.name} at context {self.context} with {self.batch_tokens:,} "
                f"tokens a step; asked is {model.name} at context {context} with {batch_tokens:,}"
                f"{sizes and f' ({sizes})'}: "
                f"run deepen bench {options} --context {context} --batch-tokens {batch_tokens}"
            )

    def described(self) -> dict[str, Any]:
        """The timing in JSON's types, as `read_timing` reads it."""
        return {
            "device": self.device,
            "precision": self.precision,
            "model": asdict(self.model),
            "context": self.context,
            "batch_tokens": self.batch_tokens,
            "timing": {
                "block": {str(role): self.block[role] for role in Role},
                **{name: getattr(self, name) for name in _AROUND},
            },
        }


_MAX_FILE_BYTES = 1 << 24
"""Bytes of the longest bench that is read."""

_AROUND = ("head_frozen", "head_trained", "base")


def fit_timing(
    measured: Sequence[MeasuredPhase],
    *,
    device: str,
    precision: str,
    model: ModelConfig,
    context: int,
    batch_tokens: int,
) -> Timing:
    """The ingredients, none below 0, whose sums come nearest to what was measured.

    Residuals are relative, so that a shallow phase counts as much as a deep one. An ingredient that no phase
    has is 0.

    Source: non-negative least squares, Lawson & Hanson 1974 (Solving Least Squares Problems, chapter 23).
    """
    from scipy.optimize import nnls  # half a second to import, and planning does not need it

    rows = []
    for each in measured:
        counts, head = role_counts(each.trained), each.trained.head
        ingredients = (*(counts[role] for role in Role), not head, head)  # the base is in either head
        rows.append([count / each.seconds_per_token for count in ingredients])
    *blocks, frozen, trained = (float(seconds) for seconds in nnls(rows, [1.0] * len(rows), maxiter=100)[0])
    # Where only one of them was measured, it is the base, and nothing is known of the other.
    heads = {each.trained.head for each in measured}
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
    )


def misfit(timing: Timing, measured: Sequence[MeasuredPhase]) -> float:
    """By how much the ingredients miss the worst of the measured phases, as a share of what it took."""
    return max(abs(timing.seconds_per_token(each.trained) / each.seconds_per_token - 1) for each in measured)


def read_timing(path: Path) -> Timing:
    """The timing in a file that `deepen bench --out FILE` wrote.

    Raises:
        ValueError: there is no such file, or it is not whole; the message is one line.
    """
    if not path.is_file():
        what = "is no file: name one" if path.exists() else "does not exist: write one"
        raise ValueError(f"bench {path} {what} with deepen bench --out FILE")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("it is too long")
        return _timing_of(json.loads(path.read_text()))
    except OSError as error:
        raise ValueError(f"bench {path} cannot be read: {error.strerror or error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        problem = "it is not JSON"
    except ValueError as error:
        problem = str(error)
    raise ValueError(f"bench {path} is damaged ({problem}): write it again with deepen bench --out {path}")


def _timing_of(content: Any) -> Timing:
    """A timing from somebody's JSON: nothing in it is trusted unchecked."""
    bench = _entries(content, {"device": str, "precision": str, "context": int, "batch_tokens": int}, "the file")
    model = _entries(content.get("model"), {f.name: f.type for f in fields(ModelConfig)}, "model")
    timing = _entries(content.get("timing"), dict.fromkeys(_AROUND, float), "timing")
    block = _entries(content["timing"].get("block"), {str(role): float for role in Role}, "block")
    return Timing(model=ModelConfig(**model), block={role: block[role] for role in Role}, **bench, **timing)


def _entries(content: Any, types: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries of a JSON object that `types` names, each of its type; others are left alone."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} is no object")
    if missing := [key for key in types if key not in content]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    for key, kind in types.items():
        value = content[key]
        if not (_is_number(value) if kind is float else type(value) is kind):
            raise ValueError(f"{key} of {where} is {str(value)[:40]!r}, no {_WORDS[kind]}")
    return {key: content[key] for key in types}


_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number; JSON knows NaN, infinity and integers beyond any float."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False

"""Keys: a segment is identified by the hash of everything that its numbers depend on.

What is hashed is a *canonical form*. That of a dataclass is its type's name and the fields that differ from their
default:

    canonical(RatePiece(shape="constant", start=0, end=None, start_lr=0.1, end_lr=0.1))
    # {"type": "RatePiece", "shape": "constant", "start": 0, "end": None, "start_lr": 0.1, "end_lr": 0.1}
    canonical(Growth(operator="stack", placement="top"))  # moments have their default
    # {"type": "Growth", "operator": "stack", "placement": "top"}

So a dataclass that gains a field with a default keeps all keys, and earlier results stay valid, as long as the
default does what the code did before. A field that changes no number is marked where it is defined:

    label: str = field(metadata={"identity": False})  # names, labels, prices, paths: never matter
    compile: str = field(default="no", metadata={"identity": "rounding"})  # does not matter, but for rounding
    on_spike: str = field(default="warn", metadata={"identity": {"stop": "warn"}})  # "stop" counts as "warn"

Three changes need a higher `FORMAT`, because the same canonical form would then stand for other numbers: another
default of an existing field, another name of a type or field, and code that computes something else.

A key is built in three layers, each the hash of the one before and of its own part:

    root   = FORMAT, model, data's fingerprint, window, settings, seed
    anchor = what led to a piece: the root, or the key of the piece before
    piece  = anchor, the piece without its end
    key    = piece, end

Where else a piece is cut into segments does not enter, because cutting changes no number. Data, tokenizer and task
files enter by the hash of their content, never by a path.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from deepen.study.define.study import Study
from deepen.train.segment import Segment

FORMAT = 4
"""Raised when the same canonical form would give other numbers than before, so that old results are not reused."""


def canonical(value: Any) -> Any:
    """A value in JSON's types, reduced to what identifies it."""
    return _reduce(value, _canonical_fields)


def comparable(value: Any) -> Any:
    """A value in JSON's types, with every field in which two runs of one study must agree to the bit.

    That is more than the canonical form: defaults are written out, and what changes rounding stays.
    """
    return _reduce(value, _comparable_fields)


Fields = Callable[[Any], Iterator[tuple[str, Any]]]
"""The fields of a dataclass that count, reduced."""


def _reduce(value: Any, choose: Fields) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **dict(choose(value))}
    if isinstance(value, Enum):
        return _reduce(value.value, choose)
    if isinstance(value, Mapping):
        return {str(key): _reduce(entry, choose) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_reduce(entry, choose) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form: add one to deepen.study.compile.keys")


def _comparable_fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        rule = field.metadata.get("identity", True)
        if rule is not False:
            entry = comparable(getattr(value, field.name))
            yield field.name, rule.get(entry, entry) if isinstance(rule, Mapping) else entry


def _canonical_fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        rule = field.metadata.get("identity", True)
        if rule not in (False, "rounding"):
            entry = canonical(getattr(value, field.name))
            entry = rule.get(entry, entry) if isinstance(rule, Mapping) else entry
            if not _has_default(field) or entry != canonical(_default(field)):
                yield field.name, entry


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def root_key(study: Study, data_fingerprint: str, seed: int) -> str:
    """The key that every route of a study with this seed begins with."""
    return _hash({
        "format": FORMAT,
        "model": canonical(study.model),
        "data": data_fingerprint,
        "window": study.context,
        "settings": canonical(study.settings),
        "seed": seed,
    })  # fmt: skip


def piece_key(anchor: str, piece: Segment) -> str:
    """The key of a piece wherever it ends: routes with the same one share its tokens up to the nearer end.

    Args:
        anchor: the key of what led to the piece.
        piece: the piece; its end does not matter.
    """
    recipe = canonical(piece)
    del recipe["end"]
    return _hash({"after": anchor, "recipe": recipe})


def segment_key(piece: str, end: int) -> str:
    """The key of a segment: that of the piece it lies in, and where it ends."""
    return _hash({"piece": piece, "end": end})


def _hash(form: Mapping[str, Any]) -> str:
    text = json.dumps(form, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

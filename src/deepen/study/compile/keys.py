"""Keys: a segment is identified by the hash of everything that its numbers depend on.

The hashed value is a *canonical form*. For a dataclass, it has the name of the type and the fields that differ
from their default:

    canonical(RatePiece(shape="constant", start=0, end=None, start_lr=0.1, end_lr=0.1))
    # {"type": "RatePiece", "shape": "constant", "start": 0, "end": None, "start_lr": 0.1, "end_lr": 0.1}
    canonical(GrownBlock(source=0, is_new=True))  # `residual_scale` has its default
    # {"type": "GrownBlock", "source": 0, "is_new": True}

So a new field with a default keeps all keys, and earlier results stay valid, as long as the default does what the
code did before. A field that changes no number is marked where it is defined:

    label: str = field(metadata={"identity": False})  # names, labels, prices, paths
    compile: str = field(default="auto", metadata={"identity": "rounding"})  # changes only the rounding
    on_spike: str = field(default="warn", metadata={"same": {"stop": "warn"}})  # "stop" counts as "warn"

Three changes need a higher `FORMAT`, because the same canonical form would then mean other numbers: a new default
of an existing field, a new name of a type or field, and code that computes something else.

A key is built in layers, each a hash of the previous one and its own part:

    root key    = FORMAT, model, data fingerprint, window, settings, seed, and the checkpoint it starts from
    piece key   = root key, or key of the previous whole piece; the piece without its end
    segment key = piece key, end

Other cuts of the same piece do not change a key, because cutting changes no number. Data, tokenizer and task files
are identified by the hash of their content, never by a path.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from deepen.schedule.recipe import record_recipe
from deepen.study.define.study import Study
from deepen.train.segment import Segment

FORMAT = 6
"""Increased when the same canonical form gives other numbers than before, so that old results are not reused."""


def canonical(value: Any) -> Any:
    """The canonical form of a value, in JSON's types."""
    return _reduce(value, _canonical_fields)


def comparable(value: Any) -> Any:
    """A value in JSON's types, with every field in which two runs of one study must agree.

    In contrast to the canonical form, defaults are written out, and fields that change the rounding are included.
    """
    return _reduce(value, _comparable_fields)


Fields = Callable[[Any], Iterator[tuple[str, Any]]]
"""Yields the fields of a dataclass to include, each as a name and a value in JSON's types."""


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
    if callable(value):  # a recipe: its identity is what it returns (see `hash_own_recipes`)
        return _reduce(record_recipe(value), choose)
    raise TypeError(f"{type(value).__name__} has no canonical form: add one to deepen.study.compile.keys")


def _comparable_fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        if field.metadata.get("identity", True) is not False:
            yield field.name, _merge_same(field, comparable(getattr(value, field.name)))


def _canonical_fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        if field.metadata.get("identity", True) not in (False, "rounding"):
            entry = _merge_same(field, canonical(getattr(value, field.name)))
            if not _has_default(field) or entry != canonical(_default(field)):
                yield field.name, entry


def _merge_same(field: Field[Any], entry: Any) -> Any:
    """The value as which an entry counts."""
    same: Mapping[str, str] = field.metadata.get("same", {})
    return same.get(entry, entry) if same else entry


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def root_key(study: Study, data_fingerprint: str, seed: int) -> str:
    """The key at the start of every route of a study with this seed."""
    form = {
        "format": FORMAT,
        "model": canonical(study.model),
        "data": data_fingerprint,
        "window": study.context,
        "settings": canonical(study.settings),
        "seed": seed,
    }
    if study.start is not None:
        form["start"] = canonical(study.start)
    return _hash(form)


def piece_key(previous: str, piece: Segment) -> str:
    """The key of a piece, whatever its end: two routes with the same key share its tokens up to the earlier end.

    Args:
        previous: the root key, or the key of the previous piece with its end.
        piece: the piece; its end is ignored.
    """
    recipe = canonical(piece)
    del recipe["end"]
    return _hash({"after": previous, "recipe": recipe})


def segment_key(piece: str, end: int) -> str:
    """The key of a segment, from the key of its piece and its end."""
    return _hash({"piece": piece, "end": end})


def _hash(form: Mapping[str, Any]) -> str:
    text = json.dumps(form, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""Read a file written by `deepen bench` as a `Timing`. Its whole content is checked."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from deepen.compute.ledger import Role
from deepen.compute.timing import OUTSIDE_BLOCKS, Timing, is_finite_number
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.model.rope_scaling import parse_rope_scaling

MAX_FILE_BYTES = 1 << 24
"""Larger files are rejected without being read."""

_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class IncompleteBenchError(InvalidValueError):
    """A bench file without timing, because not every kind of phase could be measured."""


def read_timing(path: Path) -> Timing:
    """Read the timing in a bench file.

    Raises:
        IncompleteBenchError: not every kind of phase could be measured.
        InvalidValueError: the file does not exist or is damaged; the message is one line.
    """
    content = _read_json(path)
    if isinstance(content, dict) and content.get("failed"):
        raise IncompleteBenchError(
            f"{path} has no timing, because not every kind of phase could be measured",
            field="bench",
            value=path,
            remedy="its entry `failed` says why",
        )
    try:
        return _parse_timing(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None


def _read_json(path: Path) -> Any:
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise _wrong(path, problem, "run a bench, which writes one")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _damaged(path, "it is too long")
        return json.loads(path.read_text())
    except OSError as error:
        raise _wrong(path, "cannot be read", error.strerror if error.strerror else str(error)) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise _damaged(path, "it is not JSON") from None


def _damaged(path: Path, damage: str) -> InvalidValueError:
    return _wrong(path, f"is damaged ({damage})", "run the bench again")


def _wrong(path: Path, problem: str, remedy: str) -> InvalidValueError:
    return InvalidValueError(f"{path} {problem}", field="bench", value=path, remedy=remedy)


def _parse_timing(content: Any) -> Timing:
    kinds = {"device": str, "precision": str, "context": int, "batch_tokens": int}
    if isinstance(content, dict) and "optimizer" in content:  # older files are of adamw
        kinds["optimizer"] = str
    bench = _select(content, kinds, "the file")
    model = _parse_model(content.get("model"))
    timing = _select(content.get("timing"), dict.fromkeys(OUTSIDE_BLOCKS, float), "timing")
    block = _select(content["timing"].get("block"), {str(role): float for role in Role}, "block")
    return Timing(model=model, block={role: block[role] for role in Role}, **bench, **timing)


def _parse_model(content: Any) -> ModelConfig:
    """The model; a field with a default may be missing, because older files do not have it."""
    scalars = {field.name: field for field in fields(ModelConfig) if field.name != "rope_scaling"}
    kinds = {
        name: field.type
        for name, field in scalars.items()
        if field.default is MISSING or (isinstance(content, dict) and name in content)
    }
    model = _select(content, kinds, "model")
    return ModelConfig(**model, rope_scaling=parse_rope_scaling(content.get("rope_scaling")))


def _select(content: Any, kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entries of a JSON object named in `kinds`, after checking their types; other entries are ignored."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not an object")
    if missing := [name for name in kinds if name not in content]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    for name, kind in kinds.items():
        value = content[name]
        if not (is_finite_number(value) if kind is float else type(value) is kind):
            raise ValueError(f"{name} of {where} is {str(value)[:40]!r}, not {_KINDS[kind]}")
    return {name: content[name] for name in kinds}

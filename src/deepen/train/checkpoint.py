"""States on disk: safetensors and JSON, a manifest with sha256 written last, renamed into place.

`state/` is the newest; while it is replaced, the one before it stands beside as `state.old/`. A state whose
manifest does not verify is never used.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from deepen.train.state import Progress, TrainState


class StateError(ValueError):
    """A state that cannot be used; the message names the file and the reason."""


def save_state(state: TrainState, folder: Path) -> None:
    """Write a state to `folder`, replacing the one that is there only once the new one is whole."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    moments = {f"{name}:{key}": t for name, kept in state.moments.items() for key, t in kept.items()}
    try:
        save_file(dict(state.weights), new / "weights.safetensors")
        save_file(moments, new / "moments.safetensors")
    except SafetensorError as error:  # it wraps what the system said, such as a full disk
        raise OSError(str(error)) from None
    about = {"depth": state.depth, "seed": state.seed, "progress": asdict(state.progress)}
    about["recent_losses"] = state.recent_losses
    (new / "state.json").write_text(json.dumps(about))
    names = ("weights.safetensors", "moments.safetensors", "state.json")
    manifest = {name: {"bytes": (new / name).stat().st_size, "sha256": _sha256(new / name)} for name in names}
    (new / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for path in (*(new / name for name in names), new / "manifest.json", new):
        fsync(path)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    fsync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_state(folder: Path) -> TrainState:
    """Read the newest state that verifies: `folder`, or what a save that was cut off left beside it.

    Raises:
        StateError: there is none; the message says what is wrong with each.
    """
    problems = []
    for suffix in ("", ".new", ".old"):
        candidate = folder.with_name(folder.name + suffix)
        if candidate.is_dir():
            try:
                return _read(candidate)
            except StateError as error:
                problems.append(str(error))
    raise StateError("; ".join(problems) or f"there is no state in {folder}")


def _read(folder: Path) -> TrainState:
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        for name in ("weights.safetensors", "moments.safetensors", "state.json"):
            if _sha256(folder / name) != manifest[name]["sha256"]:
                raise StateError(f"{folder / name} is damaged: its sha256 is not the manifest's")
        about = json.loads((folder / "state.json").read_text())
        moments: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(folder / "moments.safetensors").items():
            name, _, what = key.rpartition(":")
            moments.setdefault(name, {})[what] = tensor
        return TrainState(
            weights=load_file(folder / "weights.safetensors"),
            moments=moments,
            depth=about["depth"],
            seed=about["seed"],
            progress=Progress(**about["progress"]),
            recent_losses=tuple(about.get("recent_losses", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"{folder} is not a whole state ({error})") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Make a file or a folder's entries durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

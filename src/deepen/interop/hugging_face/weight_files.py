"""Find the tensors of a Hugging Face folder without reading them. Needs no torch.

A folder has one file, or several that an index lists:

    model.safetensors
    model.safetensors.index.json     {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors", ...}}

Pickled weights are refused: loading a pickle can run any code.
"""

import json
from pathlib import Path
from typing import Any

from deepen.durable import DamagedError
from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.entries import shorten
from deepen.train.checkpoint.tensor_file import StoredTensor, read_header

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx")
"""Endings of files that contain weights, in any format."""
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_MAX_NAMES = 3
"""How many names a message lists."""


def find_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Where each tensor of a Hugging Face folder is, by name, in the order of files and of bytes.

    Reads the index and the headers, and checks that every file is there and complete.

    Raises:
        InvalidValueError: there are no safetensors files, one is missing or damaged, or the index does not match.
    """
    index = folder / INDEX
    if index.is_file():
        weight_map = _read_index(index)
    elif (folder / WEIGHTS).is_file():
        weight_map = dict.fromkeys(_read_header(folder / WEIGHTS), WEIGHTS)
    else:
        raise _without_weights(folder)
    files = sorted(set(weight_map.values()))
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise _unusable(f"misses {_list(missing)}, which {INDEX} lists", folder, "copy the missing files")
    stored = {name: _read_header(folder / name) for name in files}
    absent = [name for name, file in weight_map.items() if name not in stored[file]]
    if absent:
        raise _unusable(f"misses tensors that {INDEX} lists: {_list(absent)}", folder, "copy its files again")
    tensors = {name: stored[file][name] for name, file in weight_map.items()}
    return dict(sorted(tensors.items(), key=lambda entry: (entry[1].path.name, entry[1].begin)))


def _read_index(index: Path) -> dict[str, str]:
    """The file of each tensor."""
    try:
        content: Any = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong_index(index, f"it is not JSON: {error}") from None
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise _wrong_index(index, "it has no weight_map")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise _wrong_index(
                index, f"weight_map has {shorten(file)} for {name}, and there is no such file beside it"
            )
    return weight_map


def _wrong_index(index: Path, problem: str) -> InvalidValueError:
    return _unusable(f"has an index that cannot be used, {INDEX} ({problem})", index.parent, "copy it again")


def _read_header(path: Path) -> dict[str, StoredTensor]:
    try:
        return read_header(path)
    except DamagedError as error:
        raise _unusable(f"cannot be used: {error}", path.parent, f"copy {path.name} again") from None


def _without_weights(folder: Path) -> InvalidValueError:
    """The error for a folder without safetensors files under the usual names; pickles get their conversion."""
    names = sorted(path.name for path in folder.iterdir())
    if pickled := [name for name in names if name.endswith(_PICKLED)]:
        return _unusable(
            f"has only pickled weights ({_list(pickled)}), which can run any code when they are loaded",
            folder,
            'where you trust them, convert them: python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{folder}', dtype='auto').save_pretrained('{folder}-safetensors')\", and copy the "
            "tokenizer files",
        )
    if others := [name for name in names if name.endswith(WEIGHT_SUFFIXES)]:
        return _unusable(
            f"has neither {WEIGHTS} nor {INDEX}, only {_list(others)}",
            folder,
            "use the files that transformers loads",
        )
    return _unusable("has no weights", folder, f"copy {WEIGHTS}, or the files that {INDEX} lists")


def _unusable(problem: str, folder: Path, remedy: str) -> InvalidValueError:
    return InvalidValueError(f"{folder} {problem}", field="checkpoint", value=str(folder), remedy=remedy)


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES} more"

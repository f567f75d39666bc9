"""Checkpoints as values: a training state of deepen's, or a folder in Hugging Face's format. Needs no torch.

A checkpoint outside a study is the folder of a state with two more entries beside its files:

    weights.safetensors, moments.safetensors, state.json, manifest.json    the state
    model.json                                                             the model and its history
    tokenizer.json                                                         where the tokenizer is known

Inside a study, the model is in study.json and the tokenizer in its own folder.
`deepen.study.store.checkpoints.find_checkpoint` finds either, `checkpoint_files.py` writes the first, `load.py`
reads the tensors.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.data.tokenizer_files import find_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.history import Event, Loaded, last_position
from deepen.interop.hugging_face.config import parse_config
from deepen.interop.hugging_face.weight_files import find_tensors
from deepen.model.config import ModelConfig
from deepen.schedule.json_form import fields_from_json, from_json, to_json
from deepen.train.checkpoint.state_check import check_files, read_header, read_manifest, tensor_files
from deepen.train.progress import Progress

MODEL_FILE = "model.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepenCheckpoint:
    """A training state with its model.

    Attributes:
        folder: the folder with the state's files, verified.
        model: the model at the state's depth. Layers that share blocks count one by one: whatever reads the
            checkpoint gets a block of its own for each.
        seed: seed of weights and data order.
        progress: tokens, steps, FLOPs and seconds of the run so far.
        tokenizer: the folder of the tokenizer; None if it is not known.
        history: what made it, the oldest event first.
        layers: the stored block of each layer, where layers share blocks; empty if they do not.
    """

    folder: Path
    model: ModelConfig
    seed: int
    progress: Progress
    tokenizer: Path | None
    history: tuple[Event, ...]
    layers: tuple[int, ...] = ()

    @property
    def sha256(self) -> str:
        """Identifies everything that a run which continues from the checkpoint depends on."""
        manifest = read_manifest(self.folder)
        position = last_position(self.history)
        return _hash({
            "files": [manifest[name]["sha256"] for name in tensor_files(self.folder, manifest)],
            "model": _identity(self.model),
            "position": None if position is None else asdict(position),
            **({"layers": self.layers} if self.layers else {}),
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class HuggingFaceCheckpoint:
    """A folder in Hugging Face's format; only its config.json has been read.

    `model` and what depends on it raise an InvalidValueError if deepen does not train such a model.
    """

    folder: Path
    config: Mapping[str, Any]

    @property
    def model(self) -> ModelConfig:
        """The model, at its depth."""
        return parse_config(self.config, self.folder.resolve().name)

    @property
    def history(self) -> tuple[Event, ...]:
        """Where it came from."""
        model = self.model
        return (Loaded(source=model.name, model_type=self.model_type, blocks=model.depth),)

    @property
    def sha256(self) -> str:
        """Identifies everything that a run which continues from the checkpoint depends on."""
        paths = sorted({tensor.path for tensor in find_tensors(self.folder).values()})
        return _hash({"files": [durable.sha256(path) for path in paths], "model": _identity(self.model)})

    @property
    def model_type(self) -> str:
        """The type of model, such as "llama"; empty if the config has none."""
        return str(self.config.get("model_type", ""))

    @property
    def tokenizer(self) -> Path | None:
        """The folder of the tokenizer; None if there is none that the `tokenizers` library reads."""
        return self.folder if find_tokenizer(self.folder) else None


Checkpoint = DeepenCheckpoint | HuggingFaceCheckpoint


def is_trained(checkpoint: Checkpoint) -> bool:
    """Whether deepen trains such a model, and so has a network for it."""
    try:
        checkpoint.model  # noqa: B018 (raises an error for any other)
    except InvalidValueError:
        return False
    return True


def read_deepen_checkpoint(folder: Path) -> DeepenCheckpoint:
    """The checkpoint in a folder with a `model.json`.

    Only this folder is read. Unlike a state in a study, it is never replaced, so a folder beside it that is called
    `.new` or `.old` is something else.

    Raises:
        InvalidValueError: `model.json` cannot be read.
        StateError: the state beside it is damaged.
    """
    model, history = read_model_file(folder)
    check_files(folder)
    header = read_header(folder)
    return DeepenCheckpoint(
        folder=folder,
        model=model,
        seed=header.seed,
        progress=header.progress,
        tokenizer=folder if find_tokenizer(folder) else None,
        history=history,
    )


def read_hugging_face_checkpoint(folder: Path) -> HuggingFaceCheckpoint:
    """The checkpoint in a folder with a `config.json`.

    Raises:
        InvalidValueError: `config.json` is not a JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{path} is not JSON ({error})", folder, "copy it again") from None
    if not isinstance(config, dict):
        raise _wrong(f"{path} is not a JSON object", folder, "copy it again")
    return HuggingFaceCheckpoint(folder=folder, config=config)


def write_model_file(folder: Path, model: ModelConfig, history: tuple[Event, ...]) -> None:
    """Write `model.json`: the model at its depth, and what made it."""
    content = {"model": to_json(model), "history": [to_json(event) for event in history]}
    durable.write_json(folder / MODEL_FILE, content)


def read_model_file(folder: Path) -> tuple[ModelConfig, tuple[Event, ...]]:
    """The model and the history in a `model.json`.

    Raises:
        InvalidValueError: it is damaged, or another version of deepen wrote what this one does not know.
    """
    path = folder / MODEL_FILE
    try:
        content = durable.read_json(path) or {}
        model = fields_from_json(ModelConfig, content.get("model"), "model")
        history = from_json(tuple[Event, ...], content.get("history", []))
    except ValueError as error:
        raise _wrong(f"{path} cannot be used: {error}", folder, "write the checkpoint again") from None
    return model, history


def _wrong(problem: str, folder: Path, remedy: str) -> InvalidValueError:
    return InvalidValueError(problem, field="checkpoint", value=folder, remedy=remedy)


def _identity(model: ModelConfig) -> Any:
    """The model without its name."""
    return {key: value for key, value in to_json(model).items() if key != "name"}


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

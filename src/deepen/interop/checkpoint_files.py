"""Read the state of a checkpoint of deepen's, and write a checkpoint outside a study."""

import shutil
from collections.abc import Callable
from pathlib import Path

from deepen import durable
from deepen.data.tokenizers import find_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.checkpoint import DeepenCheckpoint, write_model_file
from deepen.interop.history import Event
from deepen.model.config import ModelConfig
from deepen.train.checkpoint.state_check import beside
from deepen.train.checkpoint.state_files import read_files, write_files
from deepen.train.state import TrainState


def read_state(checkpoint: DeepenCheckpoint) -> TrainState:
    """The training state of a checkpoint, with all its tensors."""
    return read_files(checkpoint.folder)


def write_checkpoint(
    folder: Path, state: TrainState, model: ModelConfig, history: tuple[Event, ...], tokenizer: Path | None
) -> None:
    """Write a checkpoint to a new folder, which appears only when it is complete.

    Args:
        folder: the folder; it must not exist, or be empty.
        state: the training state.
        model: the model at the state's depth.
        history: what made it, the oldest event first.
        tokenizer: a folder with the tokenizer's files; None if there is none.

    Raises:
        InvalidValueError: the folder is in use.
    """

    def write(new: Path) -> None:
        write_model_file(new, model, history)
        for path in () if tokenizer is None else find_tokenizer(tokenizer):
            shutil.copyfile(path, new / path.name)
            durable.fsync(new / path.name)
        write_files(state, new, logs={})

    write_folder(folder, write)


def check_new_folder(folder: Path) -> None:
    """Raise an InvalidValueError unless a folder is absent or empty, and can be made."""
    existing = durable.nearest_existing(folder.absolute())
    if not existing.is_dir():
        raise InvalidValueError(f"{existing} is a file", field="out", value=folder, remedy="name a folder")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidValueError(f"{folder} is not empty", field="out", value=folder, remedy="name a new folder")


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a new folder so that it is complete or absent.

    Args:
        folder: the folder; it must not exist, or be empty.
        write: writes the files into the folder that it is given, and makes them durable.

    Raises:
        InvalidValueError: the folder is in use.
    """
    check_new_folder(folder)
    new = beside(folder, ".new")
    durable.remove_folder(new)
    new.mkdir(parents=True)
    try:
        write(new)
        if folder.exists():
            folder.rmdir()
        durable.fsync(new)
        durable.rename(new, folder)
    except BaseException:
        durable.remove(new)  # on a full disk, its bytes are needed
        raise
    durable.fsync(folder.parent)

"""Write a checkpoint of deepen's outside a study; `load.py` reads it."""

import shutil
from pathlib import Path

from deepen import durable
from deepen.data.tokenizer_files import find_tokenizer
from deepen.interop.checkpoint import write_model_file
from deepen.interop.history import Event
from deepen.model.config import ModelConfig
from deepen.train.checkpoint.state_files import write_files
from deepen.train.state import TrainState

TOKENIZER_SETTINGS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""Files of a Hugging Face folder about how its tokenizer is used: special tokens, a template for chats. They are
kept with the tokenizer through training and growth, and exported."""


def copy_tokenizer_settings(source: Path, folder: Path) -> None:
    """Copy the files of `TOKENIZER_SETTINGS` that a folder has to another one."""
    for name in TOKENIZER_SETTINGS:
        if (source / name).is_file() and not (folder / name).exists():
            durable.write_whole(folder / name, (source / name).read_bytes())


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
    durable.check_new_folder(folder, "out")
    with durable.new_folder(folder) as new:
        write_model_file(new, model, history)
        if tokenizer is not None:
            for path in find_tokenizer(tokenizer):
                shutil.copyfile(path, new / path.name)
            copy_tokenizer_settings(tokenizer, new)
        write_files(state, new, logs={})

"""Load a folder in Hugging Face's format into lm-evaluation-harness's wrapper of a model (its `HFLM`)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepen.data.tokenizer_check import ORDINARY_TEXT, check_encoding, missing_tokenizer
from deepen.data.tokenizers import ENDS_OF_TEXT
from deepen.errors import InvalidValueError
from deepen.evaluate.harness_tasks import import_harness
from deepen.evaluate.task import DTYPES
from deepen.extras import import_extra

CPU_BATCH_SIZE = 16
"""Rows of a batch on a CPU, where larger batches are no faster."""

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json")
"""What the files with the vocabulary of a tokenizer are called."""


def load_harness_model(folder: Path, device: str, precision: str, batch_size: int) -> Any:
    """The harness's wrapper of a model; no pickle and no code from the folder is loaded.

    Args:
        folder, device, precision, batch_size: see `run_harness`.

    Raises:
        InvalidValueError: transformers cannot load the model or its tokenizer, the tokenizer does not encode
            text, or it has no token that ends a text.
    """
    models = import_harness(".models.huggingface")
    automatic = "auto" if device.startswith("cuda") else CPU_BATCH_SIZE
    try:
        return models.HFLM(
            pretrained=str(folder),
            tokenizer=_load_tokenizer(folder),
            device=device,
            dtype=DTYPES[precision],
            batch_size=batch_size if batch_size else automatic,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except InvalidValueError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InvalidValueError(
            f"{folder} cannot be loaded by transformers ({' '.join(str(error).split())[:300]})",
            field="checkpoint",
            value=folder,
            remedy="it needs config.json, safetensors and the files of its tokenizer",
        ) from None


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer, with a token that ends a text: the harness begins texts with it if there is none for that."""
    if (folder / "config.json").exists() and not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        raise missing_tokenizer(folder)  # for some families, transformers would make an empty one
    transformers = import_extra("transformers", extra="eval", purpose="evaluating a checkpoint")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    ids = tokenizer.encode(ORDINARY_TEXT, add_special_tokens=False)
    check_encoding(folder, ids, tokenizer.unk_token_id)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = _find_end_of_text(folder, tokenizer)
    return tokenizer


def _find_end_of_text(folder: Path, tokenizer: Any) -> str:
    """The token that ends a text, where the tokenizer's settings do not name it."""
    vocabulary = tokenizer.get_vocab()
    special = tokenizer.added_tokens_decoder
    for name in ENDS_OF_TEXT:
        if name in vocabulary:
            return name
    for number in _read_end_ids(folder):
        if number in special:  # a config's default is often the id of an ordinary token
            return str(special[number])
    raise InvalidValueError(
        f"{folder} has a tokenizer without a token that ends a text",
        field="checkpoint",
        value=folder,
        remedy="name it as eos_token in tokenizer_config.json there",
    )


def _read_end_ids(folder: Path) -> Iterator[int]:
    """The ids of tokens that end a text, as the model's settings have them."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        content = json.loads(path.read_bytes()) if path.exists() else {}
        ids = content.get("eos_token_id")
        yield from ids if isinstance(ids, list) else [] if ids is None else [ids]


def explain_failure(loaded: Mapping[str, Any], model: Any, folder: Path) -> None:
    """Raise an InvalidValueError if the tasks or the tokenizer do not fit the model, which the harness asserts.

    Args:
        loaded: the harness's tasks.
        model: its wrapper of the model.
        folder: where the model is.
    """
    if len(model.tokenizer) > model.config.vocab_size:
        raise InvalidValueError(
            f"{folder} has a tokenizer of {len(model.tokenizer):,} tokens, but a model of "
            f"{model.config.vocab_size:,}",
            field="checkpoint",
            value=folder,
            remedy="put the model's own tokenizer there",
        ) from None
    for name, task in loaded["tasks"].items():
        for instance in task.instances:
            answer = instance.args[-1]
            if isinstance(answer, str) and len(model.tok_encode(answer)) > model.max_length:
                raise InvalidValueError(
                    f"{name} has an answer that is longer than the model's context of {model.max_length} tokens",
                    field="tasks",
                    value=name,
                    remedy="leave it out, or score deepen's task, which reads the end of such an answer",
                ) from None

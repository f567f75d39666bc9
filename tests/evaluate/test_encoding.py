"""Context and ending are encoded as one text, with every kind of tokenizer, whatever is stored with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from deepen.data.shards import Dataset
from deepen.data.tokenizers import Tokenizer, load_tokenizer, train_bpe
from deepen.evaluate.encoding import Split, encode_pairs, split_at_shared, split_by_length
from deepen.evaluate.registry import get_task
from deepen.evaluate.task import TaskError

TEXTS = [
    "The treaty was signed by the Congress, and peace with all nations prevails.",
    "It was reported that in New York the ships were built and the harbor was open.",
    "Women washed, men worked; the soil was tilled, and trade and commerce grew.",
]
CONTEXT = "The Congress reported that"
ENDINGS = (" the treaty was signed.", " ships", " Zürich open")
PAIRS = [(CONTEXT, ending) for ending in ENDINGS]


def llama() -> tokenizers.Tokenizer:
    """As Llama 2 and Mistral: a "▁" before the text and for each space, then merges over all of it."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], max_token_length=6, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def metaspace() -> tokenizers.Tokenizer:
    """As T5 and Llama with the present pre-tokenizer."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    special = {"unk_token": "<unk>", "special_tokens": ["<unk>"]}
    tokenizer.train_from_iterator(
        TEXTS * 3, trainers.UnigramTrainer(vocab_size=90, show_progress=False, **special)
    )
    return tokenizer


def word_piece() -> tokenizers.Tokenizer:
    """As BERT."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def gpt2() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(train_bpe(TEXTS * 3, 320).to_json())


def wrap(tokenizer: tokenizers.Tokenizer) -> Tokenizer:
    return Tokenizer({"tokenizer.json": tokenizer.to_str().encode()})


KINDS = {"gpt2": gpt2, "llama": llama, "metaspace": metaspace, "word_piece": word_piece}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return wrap(KINDS[request.param]())


@pytest.mark.parametrize("split", [split_at_shared, split_by_length])
def test_prompt_and_ending_are_the_tokens_of_the_whole_text(tokenizer: Tokenizer, split: Split):
    for ending, completion in zip(ENDINGS, encode_pairs(PAIRS, tokenizer, split), strict=True):
        whole = tokenizer.encode(CONTEXT + ending)
        assert [*completion.prompt, *completion.tokens] == whole and completion.tokens


@pytest.mark.parametrize(("kind", "alone"), [("llama", "▁▁ships"), ("metaspace", "▁ships")])
def test_a_mark_at_the_beginning_of_a_text_is_not_put_before_an_ending(kind: str, alone: str):
    tokenizer = KINDS[kind]()
    assert "".join(tokenizer.encode(" ships").tokens) == alone  # with llama's, it would have a mark too many
    (_, ships, _) = encode_pairs(PAIRS, wrap(tokenizer))
    assert "".join(tokenizer.id_to_token(token) for token in ships.tokens) == "▁ships"


@settings(max_examples=200, deadline=None)
@given(context=st.text(min_size=1, max_size=30), ending=st.text(min_size=1, max_size=30))
def test_with_a_byte_level_tokenizer_an_ending_has_the_tokens_that_it_has_alone(context: str, ending: str):
    """So scores with GPT-2's tokenizer are those of the paper's code."""
    text, tokenizer = f"x{context.strip()}.", BYTE_LEVEL
    if not ending.strip():
        return
    for split in (split_at_shared, split_by_length):
        (completion,) = encode_pairs([(text, f" {ending}")], tokenizer, split)
        assert list(completion.prompt) == tokenizer.encode(text)
        assert list(completion.tokens) == tokenizer.encode(f" {ending}")


BYTE_LEVEL = wrap(gpt2())


def test_a_token_that_merges_context_and_ending_is_scored():
    vocab = {name: number for number, name in enumerate(["[UNK]", "in", "new", " ", "new york", " new york", "."])}
    tokenizer = tokenizers.Tokenizer(models.Unigram([(name, -1.0) for name in vocab], unk_id=0))
    merged, apart = encode_pairs([("in new", " york."), ("in new", " in.")], wrap(tokenizer))
    assert [tokenizer.id_to_token(token) for token in merged.prompt] == ["in"]
    assert [tokenizer.id_to_token(token) for token in merged.tokens] == [" new york", "."]
    assert [tokenizer.id_to_token(token) for token in apart.prompt] == ["in", " ", "new"]
    assert [tokenizer.id_to_token(token) for token in apart.tokens] == [" ", "in", "."]


@pytest.mark.parametrize(("context", "ending", "what"), [("!", "a", "context '!'"), ("a", "!", "ending '!'")])
def test_a_text_without_tokens_is_refused_by_name(context: str, ending: str, what: str, tmp_path: Path):
    tokenizer = tokenizers.Tokenizer(models.WordLevel({"a": 0}))
    tokenizer.normalizer = normalizers.Replace("!", "")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    file = tmp_path / "items.jsonl"
    file.write_text(json.dumps({"ctx": context, "endings": [ending, "a"], "label": 0}) + "\n")
    with pytest.raises(TaskError, match=f"makes no tokens of the {what}"):
        get_task("hellaswag").load(file, wrap(tokenizer))


def truncated(tokenizer: tokenizers.Tokenizer) -> None:
    tokenizer.enable_truncation(4)


def padded(tokenizer: tokenizers.Tokenizer) -> None:
    tokenizer.enable_padding(length=32)


def random_merges(tokenizer: tokenizers.Tokenizer) -> None:
    tokenizer.model.dropout = 0.5


@pytest.mark.parametrize("spoil", [truncated, padded, random_merges])
def test_what_training_code_stored_with_a_tokenizer_changes_no_token(
    dataset: Dataset, tmp_path: Path, spoil: Callable[[tokenizers.Tokenizer], None]
):
    good = load_tokenizer(dataset.folder)
    tokenizer = tokenizers.Tokenizer.from_str(good.to_json())
    spoil(tokenizer)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    read_as_is = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert read_as_is.encode(TEXTS[0]).ids != good.encode(TEXTS[0])
    assert load_tokenizer(tmp_path).encode(TEXTS[0]) == good.encode(TEXTS[0])

"""Last words and documents: what is scored, and the numbers that come of it."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.data.tokenizers import make_tokenizer
from deepen.evaluate.language import split_document
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import CompletionScorer
from deepen.model.build import build
from deepen.model.config import ModelConfig

VOCAB = 257


def uniform() -> CompletionScorer:
    """A model whose prediction is uniform."""
    config = ModelConfig(name="u", family="llama", depth=1, width=8, heads=1, context=8, vocab=VOCAB, tied=False)
    network = build(config, 0)
    network.load_state_dict({name: torch.zeros_like(value) for name, value in network.state_dict().items()})
    return CompletionScorer(model=network, context=8, device=torch.device("cpu"))


def test_documents_have_the_loss_and_the_bits_per_byte_of_all_their_tokens(tmp_path: Path):
    task, tokenizer, path = get_task("text"), make_tokenizer("byte"), tmp_path / "text.jsonl"
    texts = ["a b c d e f g h i j k", "é", "short"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    score = task.score(uniform(), task.load(path, tokenizer))
    size = sum(len(text.encode()) for text in texts)
    assert score.n == size and score.value == pytest.approx(math.log(VOCAB), rel=1e-6)
    assert score.metrics["bits_per_byte"] == pytest.approx(math.log2(VOCAB), rel=1e-6)
    assert score.metrics["loss_stderr"] == pytest.approx(0, abs=1e-6) == score.metrics["bits_per_byte_stderr"]


def test_a_last_word_has_a_perplexity_and_counts_if_every_token_is_the_first_choice(tmp_path: Path):
    task, tokenizer, path = get_task("lambada"), make_tokenizer("byte"), tmp_path / "lambada.jsonl"
    path.write_text('{"text": "so it is"}\n{"text": "a b"}\n')
    examples = task.load(path, tokenizer)
    assert [tokenizer.decode(example.tokens) for example in examples] == [" is", " b"]
    score = task.score(uniform(), examples)
    assert score.metrics["perplexity"] == pytest.approx(math.exp(2.5 * math.log(VOCAB)), rel=1e-5)
    assert (score.n, score.value) == (2, score.metrics["acc"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40).map(tuple), st.integers(1, 12))
def test_each_token_of_a_document_is_scored_once_after_as_much_of_it_as_fits(
    tokens: tuple[int, ...], context: int
):
    pieces = split_document(tokens, context)
    assert sum((piece.tokens for piece in pieces), ()) == tokens[1:]
    end = 1
    for piece in pieces:
        end += len(piece.tokens)
        read = (*piece.prompt, *piece.tokens)
        assert piece.prompt and read == tokens[end - len(read) : end]
        assert len(read) == min(context + 1, end)

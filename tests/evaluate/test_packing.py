"""Rows that share a beginning give the scores of each completion alone."""

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from deepen.evaluate.packing import NOT_SCORED, by_length, make_rows
from deepen.evaluate.scoring import CompletionScorer
from deepen.evaluate.task import Completion
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder

CONTEXT = 16
GPT2 = ModelConfig(name="g", depth=2, width=16, heads=2, context=CONTEXT, vocab=4, init_std=0.5)
LLAMA = replace(GPT2, family="llama", kv_heads=1, tied=False)
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "olmo-2": replace(LLAMA, norm_position="post", qk_norm="all-heads"),
}


def network(config: ModelConfig) -> Decoder:
    made = build(config, config.depth)
    made.load_state_dict(init_weights(config, config.depth, seed=0))
    return made


def alone(model: Decoder, completion: Completion) -> tuple[float, int, bool]:
    """Loss, number of tokens and greediness of a completion from the logits of its text as one plain row."""
    ids = torch.tensor([*completion.prompt, *completion.tokens][-(CONTEXT + 1) :])
    scored = min(len(completion.tokens), len(ids) - 1)
    with torch.no_grad():
        logits = model(ids[None, :-1])[0, -scored:]
    targets = ids[-scored:]
    is_greedy = bool((logits.argmax(dim=1) == targets).all())
    return F.cross_entropy(logits, targets, reduction="sum").item(), scored, is_greedy


def example(draw: Random) -> list[Completion]:
    """Completions of one prompt, some of which begin alike, and some of which are longer than the context."""
    prompt = tuple(draw.choices(range(4), k=draw.choice([1, 2, 9, 14])))
    start = tuple(draw.choices(range(4), k=draw.choice([0, 0, 2])))
    count, lengths = draw.choice([1, 2, 4]), [1, 1, 3, 5]
    return [Completion(prompt, (*start, *draw.choices(range(4), k=draw.choice(lengths)))) for _ in range(count)]


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("batch_tokens", [32, 4096])
def test_completions_of_an_example_have_the_scores_that_each_has_alone(config: ModelConfig, batch_tokens: int):
    draw, model = Random(0), network(config)
    groups = [example(draw) for _ in range(16)]
    scorer = CompletionScorer(model=model, context=CONTEXT, device=torch.device("cpu"), batch_tokens=batch_tokens)
    scores = scorer.score_completions(groups)
    assert any(score.is_greedy for group in scores for score in group)
    for group, of_group in zip(groups, scores, strict=True):
        for completion, score in zip(group, of_group, strict=True):
            loss, tokens, is_greedy = alone(model, completion)
            assert (score.tokens, score.is_greedy) == (tokens, is_greedy)
            assert score.loss == pytest.approx(loss, rel=1e-5)


TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=9).map(tuple)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.builds(Completion, TOKENS, TOKENS), min_size=1, max_size=4))
def test_every_token_of_a_completion_is_predicted_once_from_what_stands_before_it(group: list[Completion]):
    rows = make_rows([group], context=8)
    found = {part.index: (row, part) for row in rows for part in row.parts}
    assert sorted(found) == list(range(len(group)))
    for index, completion in enumerate(group):
        row, part = found[index]
        text = [*completion.prompt, *completion.tokens][-9:]
        scored = [row.targets[position] for where in (part.shared, part.own) for position in where]
        assert scored == text[-min(len(completion.tokens), len(text) - 1) :]
        for position in (*part.shared, *part.own):
            branch = row.branches[position]
            visible = [
                token
                for token, of_token in zip(row.tokens[: position + 1], row.branches, strict=False)
                if of_token in (0, branch)
            ]
            assert visible == text[: len(visible)] and row.targets[position] == text[len(visible)]


def test_what_an_example_has_in_common_is_computed_once():
    prompt = tuple(range(10))
    group = [Completion(prompt, (1, 2)), Completion(prompt, (3, 4, 5)), Completion(prompt, (6,))]
    (row,) = make_rows([group], context=64)
    assert len(row.tokens) == len(prompt) - 1 + 2 + 3 + 1
    assert row.targets[:9] == (NOT_SCORED,) * 9 and row.branches == (*[0] * 9, 1, 1, 2, 2, 2, 3)


def test_batches_hold_rows_of_similar_length_and_no_more_tokens_than_they_may():
    draw = Random(0)
    rows = make_rows([[Completion((0,), (0,) * draw.randrange(1, 60))] for _ in range(300)], context=64)
    batches = list(by_length(rows, 256))
    assert sorted(len(row.tokens) for batch in batches for row in batch) == sorted(len(row.tokens) for row in rows)
    padded = [len(batch) * max(len(row.tokens) for row in batch) for batch in batches]
    assert max(padded) <= 256
    assert sum(padded) < 1.1 * sum(len(row.tokens) for row in rows)

"""Multiple choice: endings scored by their mean loss, and files that are refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deepen.data.shards import Dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.evaluate.multiple_choice import Example
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import CompletionScorer, LanguageModel
from deepen.evaluate.task import Completion, TaskError
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder

HELLASWAG = get_task("hellaswag")

ITEMS = [
    {
        "ctx": "The committee reported to the Congress that",
        "endings": [
            "the treaty was signed.",
            "a treaty.",
            "banana of of the the",
            "peace with all nations prevails here.",
        ],
        "label": label,
    }
    for label in (0, 1, 2, 3)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hellaswag.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return path


def scorer(network: LanguageModel, **changes: int) -> CompletionScorer:
    return CompletionScorer(model=network, context=16, device=torch.device("cpu"), **changes)


@pytest.mark.slow
def test_endings_are_scored_by_mean_loss_per_token_one_by_one_as_in_batches(
    file: Path, dataset: Dataset, model: ModelConfig
):
    tokenizer = load_tokenizer(dataset.folder)
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    examples = HELLASWAG.load(file, tokenizer)
    picks = set()
    for item, example in zip(ITEMS, examples, strict=True):
        losses = []
        for ending in item["endings"]:
            context, tail = tokenizer.encode(item["ctx"]).ids, tokenizer.encode(f" {ending}").ids
            ids = torch.tensor((context + tail)[-17:])
            scored = min(len(tail), len(ids) - 1)
            with torch.no_grad():
                logits = network(ids[None, :-1])[0]
            losses.append(F.cross_entropy(logits[-scored:], ids[-scored:]).item())
        pick = losses.index(min(losses))
        picks.add(pick)
        assert HELLASWAG.score(scorer(network), [example]).outcomes == (pick == example.label,)
    in_batches = HELLASWAG.score(scorer(network, batch_tokens=40), examples)
    assert in_batches.outcomes == tuple(label in picks for label in (0, 1, 2, 3)) and sum(in_batches.outcomes) == 1
    assert (in_batches.value, in_batches.n) == (0.25, 4)
    assert in_batches.stderr == pytest.approx((0.25 * 0.75 / 4) ** 0.5)


def successor() -> Decoder:
    """A network without blocks that predicts that every token is followed by the one above it."""
    config = ModelConfig(
        name="successor", family="llama", depth=1, width=512, heads=2, context=16, vocab=512, tied=False
    )
    network = build(config, 0)
    network.token_embedding.weight = nn.Parameter(torch.eye(512))
    network.norm.weight = nn.Parameter(torch.ones(512))
    network.head.weight = nn.Parameter(torch.eye(512).roll(1, dims=0))
    return network


def example(prompt: tuple[int, ...], *endings: tuple[int, ...], label: int) -> Example:
    return Example(completions=tuple(Completion(prompt, ending) for ending in endings), label=label)


def test_a_model_that_is_always_right_has_accuracy_one():
    examples = [
        example((1, 2), (9, 9), (3, 4), (7,), (8, 9, 10), label=1),
        example((5,), (6, 7, 8), (9,), (1, 2), (4, 4), label=0),
    ]
    score = HELLASWAG.score(scorer(successor()), examples)
    assert (score.value, score.stderr, score.outcomes) == (1.0, 0.0, (1, 1))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"ctx": "a"}',
        '{"ctx": "a", "endings": ["b"], "label": 4}',
        '{"ctx": 1, "endings": [1], "label": 0}',
    ],
)
def test_a_broken_line_is_named(file: Path, dataset: Dataset, line: str):
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(TaskError, match="line 5"):
        HELLASWAG.check(file)
    with pytest.raises(TaskError, match="line 5"):
        HELLASWAG.load(file, load_tokenizer(dataset.folder))

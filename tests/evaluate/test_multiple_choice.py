"""Multiple choice: endings scored by their mean loss, and files that are refused."""

import gzip
import json
from collections.abc import Callable
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
from deepen.evaluate.task_file import hash_task_file
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
            context, tail = tokenizer.encode(item["ctx"]), tokenizer.encode(f" {ending}")
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
    assert in_batches.stderr == pytest.approx((0.25 * 0.75 / 3) ** 0.5)


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
    completions = tuple(Completion(prompt, ending) for ending in endings)
    return Example(completions=completions, lengths=tuple(map(len, endings)), label=label)


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


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content)


def with_a_bom(content: bytes) -> bytes:
    return b"\xef\xbb\xbf" + content


def with_blank_lines(content: bytes) -> bytes:
    return b"\n" + content.replace(b"\n", b"\r\n \n") + b"\n\n"


@pytest.mark.parametrize("change", [gzipped, with_a_bom, with_blank_lines])
def test_a_file_as_people_have_it_holds_the_same_examples(
    file: Path, dataset: Dataset, change: Callable[[bytes], bytes]
):
    tokenizer = load_tokenizer(dataset.folder)
    examples = HELLASWAG.load(file, tokenizer)
    file.write_bytes(change(file.read_bytes()))
    HELLASWAG.check(file)
    assert HELLASWAG.load(file, tokenizer) == examples and len(examples) == len(ITEMS)


def test_a_broken_line_has_its_number_in_the_file_blank_lines_included(file: Path):
    file.write_bytes(b"\n\n" + file.read_bytes() + b"{\n")
    with pytest.raises(TaskError, match="line 7"):
        HELLASWAG.check(file)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", gzip.compress(b"\n", mtime=0)])
def test_a_file_without_items_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)
    with pytest.raises(TaskError, match="has no items"):
        HELLASWAG.check(path)


@pytest.mark.parametrize("damage", ["cut", "changed", "magic only"])
def test_a_damaged_gzip_file_is_called_that(file: Path, damage: str):
    content = gzip.compress(file.read_bytes())
    damaged = {
        "cut": content[:-20],
        "changed": content[:30] + bytes(30) + content[60:],
        "magic only": content[:2],
    }
    file.write_bytes(damaged[damage])
    for use in (HELLASWAG.check, hash_task_file):
        with pytest.raises(TaskError, match=r"hellaswag\.jsonl is a damaged gzip file .*: download it again"):
            use(file)

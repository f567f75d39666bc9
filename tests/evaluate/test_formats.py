"""Files as published and as llm-foundry's rows are the same examples, with the harness's prompts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from deepen.data.tokenizers import Tokenizer, make_tokenizer
from deepen.evaluate.registry import TASKS, get_task
from deepen.evaluate.task import TaskError
from deepen.evaluate.task_file import hash_task_file

ROOF = ["is wrapping skis.", "pulls up roofing."]
ARC = {"question": "What is wet?", "choices": {"text": ["fire", "rain"], "label": ["A", "B"]}, "answerKey": "B"}
ARC_FOUNDRY = {"query": "Question: What is wet?", "choices": ["fire", "rain"], "gold": 1}
ARC_AI2 = {
    "id": "1",
    "question": {
        "stem": "What is wet?",
        "choices": [{"text": "fire", "label": "A"}, {"text": "rain", "label": "B"}],
    },
    "answerKey": "B",
}

SAME = {
    "arc-easy": [ARC, ARC_FOUNDRY, ARC_AI2],
    "arc-challenge": [ARC, ARC_FOUNDRY, ARC_AI2],
    "piqa": [
        {"goal": "Open a jar.", "sol1": "Turn it.", "sol2": "Eat it.", "label": 0},
        {"query": "Question: Open a jar.\n", "choices": ["Turn it.", "Eat it."], "gold": 0},
    ],
    "winogrande": [
        {"sentence": "The bed and the box: the _ broke.", "option1": "bed", "option2": "box", "answer": "2"},
        {
            "context_options": ["The bed and the box: the bed", "The bed and the box: the box"],
            "continuation": "broke.",
            "gold": 1,
        },
    ],
    "hellaswag-harness": [
        {
            "activity_label": "Roof", "ctx_a": "A man is on a roof.", "ctx_b": "he",
            "ctx": "A man is on a roof. he", "endings": ROOF, "label": "1",
        },
        {"activity_label": "Roof", "ctx": "A man is on a roof. he", "endings": ROOF, "label": 1},
        {"query": "Roof: A man is on a roof. He", "choices": ROOF, "gold": 1},
    ],
    "lambada": [
        {"text": "He took the key and opened the door"},
        {"context": "He took the key and opened the", "continuation": "door"},
    ],
}  # fmt: skip
"""For each task, rows of the same example: as published first."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer("byte")


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", SAME)
def test_rows_of_all_formats_are_the_same_example(name: str, tmp_path: Path, tokenizer: Tokenizer):
    task = get_task(name)
    first, *others = (
        task.load(write(tmp_path / f"{index}.jsonl", row), tokenizer) for index, row in enumerate(SAME[name])
    )
    assert len(first) == 1 and all(other == first for other in others)


PROMPTS = {
    "hellaswag": ("A man is on a roof. he", " is wrapping skis."),
    "hellaswag-harness": ("Roof: A man is on a roof. He", " is wrapping skis."),
    "arc-easy": ("Question: What is wet?\nAnswer:", " fire"),
    "piqa": ("Question: Open a jar.\nAnswer:", " Turn it."),
    "winogrande": ("The bed and the box: the bed", " broke."),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_the_first_answer_follows_the_prompt_of_the_convention(name: str, tmp_path: Path, tokenizer: Tokenizer):
    row = SAME["hellaswag-harness" if name == "hellaswag" else name][0]
    (example,) = get_task(name).load(write(tmp_path / "task.jsonl", row), tokenizer)
    prompt, tokens = example.completions[0]
    assert (tokenizer.decode(prompt), tokenizer.decode(tokens)) == PROMPTS[name]


def test_wikihow_tags_are_removed_in_the_harness_convention_only(tmp_path: Path, tokenizer: Tokenizer):
    ctx = "[header] How to fly [title] Wait. [step] Then"
    row = {
        "activity_label": "Fly",
        "ctx_a": ctx,
        "ctx_b": "",
        "ctx": ctx,
        "endings": ["jump. [substeps] Up.", "no"],
    }
    path = write(tmp_path / "task.jsonl", row | {"label": 0})
    texts = {}
    for name in ("hellaswag", "hellaswag-harness"):
        (example,) = get_task(name).load(path, tokenizer)
        texts[name] = [tokenizer.decode(part) for part in example.completions[0]]
    assert texts["hellaswag"] == [ctx, " jump. [substeps] Up."]
    assert texts["hellaswag-harness"] == ["Fly: How to fly. Wait. Then", " jump. Up."]


def test_sentences_without_a_context_follow_an_end_of_text(tmp_path: Path, tokenizer: Tokenizer):
    path = write(tmp_path / "task.jsonl", {"sentence_good": "I am.", "sentence_bad": "I are."})
    (example,) = get_task("blimp").load(path, tokenizer)
    assert [completion.prompt for completion in example.completions] == [(tokenizer.end_of_text,)] * 2
    assert tokenizer.decode(example.completions[1].tokens) == " I are." and example.label == 0


def test_a_folder_is_its_files_one_after_the_other(tmp_path: Path):
    rows = [{"sentence_good": f"I am {n}.", "sentence_bad": f"I are {n}."} for n in range(4)]
    folder = tmp_path / "blimp"
    folder.mkdir()
    write(folder / "a.jsonl", *rows[:3])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[3]).encode() + b"\n"))
    (folder / "README.md").write_text("not a task")
    one = write(tmp_path / "one.jsonl", *rows)
    assert get_task("blimp").rows(folder) == get_task("blimp").rows(one) == rows
    assert hash_task_file(folder) == hash_task_file(one)
    write(folder / "c.jsonl", {"sentence_good": "I am."})
    with pytest.raises(TaskError, match=r"c\.jsonl, line 1: not a BLiMP item"):
        get_task("blimp").check(folder)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("row", [{}, [], 3, {"query": 1, "choices": 2, "gold": 3}, {"text": None}, {"ctx": "a"}])
def test_a_row_that_is_not_of_the_task_is_named(name: str, row: Any, tmp_path: Path):
    (tmp_path / "task.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(TaskError, match="line 1: not a"):
        get_task(name).check(tmp_path / "task.jsonl")


@pytest.mark.parametrize("name", ["hellaswag-harness", "arc-easy", "piqa", "winogrande"])
@pytest.mark.parametrize("gold", [-1, 4])
def test_a_row_without_an_answer_is_not_one_of_the_task(name: str, gold: int, tmp_path: Path):
    """As in test splits, where the label is -1."""
    row = next(row for row in SAME[name] if "gold" in row)
    path = write(tmp_path / "task.jsonl", row | {"gold": gold})
    with pytest.raises(TaskError, match="line 1: not a"):
        get_task(name).check(path)

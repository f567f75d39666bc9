"""What evaluations depend on is the same from the beginning of a command to its end, and before each segment."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.data.shards import Dataset, open_dataset
from deepen.errors import RunError
from deepen.schedule.rate import Constant
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.study import Arm, Study
from deepen.study.run.job import Job, make_jobs
from deepen.study.run.run_study import hash_inputs
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store

ITEM = json.dumps({"ctx": "The Congress", "endings": ["met.", "ran away"], "label": 0}) + "\n"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text(ITEM * 3)
    return path


@pytest.fixture
def plain(dataset: Dataset, tmp_path: Path) -> Dataset:
    """Shards and a tokenizer without dataset.json."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in dataset.folder.iterdir():
        if path.name != "dataset.json":
            (folder / path.name).write_bytes(path.read_bytes())
    return open_dataset(folder, 512)


@pytest.fixture
def job(make_study: Callable[..., Study], plain: Dataset, items: Path, tmp_path: Path) -> Job:
    """A job of one segment, as a cluster may start it hours after the command began."""
    study = make_study(
        tokens=64,
        arms=(Arm(name="full", recipe="full"),),
        anchors=(1.0,),
        rate=Constant(peak=1e-3),
        data=str(plain.folder),
        evaluation=Evaluation(
            every_tokens=64, validation_tokens=64, tasks=(TaskFile(task="hellaswag", path=items),)
        ),
    )
    study = replace(study, model=replace(study.model, depth=1))
    tree, store = compile_study(study, plain.fingerprint), Store(tmp_path / "study")
    inputs = hash_inputs(study, plain)
    store.open(study, inputs)
    (job,) = make_jobs(tree, plain, store.folder, inputs["tasks"]).values()
    return job


def other_items(job: Job) -> None:
    job.examples[0].path.write_text(ITEM * 2)


def other_tokenizer(job: Job) -> None:
    path = job.dataset.folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")


def other_shard(job: Job) -> None:
    path = job.dataset.train[0].path
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_items, r"the file of task hellaswag, .*items\.jsonl,"),
        (other_tokenizer, r"tokenizer .*tokenizer\.json"),
        (other_shard, r"shard .*train_000000\.bin"),
    ],
)
def test_a_file_that_changes_before_a_segment_begins_ends_the_command_before_any_step(
    job: Job, change: Callable[[Job], None], words: str
):
    change(job)
    with pytest.raises(RunError, match=f"{words} has changed since the command began: restore it"):
        train_segment(job, lambda: False)
    folder = Store(job.folder).segment(job.node.key)
    assert folder.lines("metrics") == folder.lines("evals") == []


def test_a_file_of_another_study_in_the_same_process_is_read_anew(job: Job):
    """Both have the same path; examples are kept in memory between segments."""
    folder = Store(job.folder).segment(job.node.key)
    assert train_segment(job, lambda: False)
    (before,) = (line["n"] for line in folder.lines("evals") if line["task"] == "hellaswag")
    other_items(job)
    again = replace(
        job,
        folder=job.folder.with_name("another"),
        examples=(replace(job.examples[0], sha256=TaskFile(task="hellaswag", path=job.examples[0].path).sha256),),
    )
    assert train_segment(again, lambda: False)
    folder = Store(again.folder).segment(job.node.key)
    (after,) = (line["n"] for line in folder.lines("evals") if line["task"] == "hellaswag")
    assert (before, after) == (3, 2)


def test_the_validation_loss_stands_beside_its_bits_per_byte(job: Job):
    assert train_segment(job, lambda: False)
    (line,) = (
        line
        for line in Store(job.folder).segment(job.node.key).lines("evals")
        if line["task"] == "validation" and line["tokens"] == 64
    )
    tokenizer = job.dataset.load_tokenizer()
    tokens = [int(token) for token in job.dataset.tokens("validation").window(1, line["n"])]
    text = tokenizer.decode(token for token in tokens if token != tokenizer.end_of_text)
    bits = line["value"] * line["n"] / math.log(2)
    assert line["metrics"]["bits_per_byte"] == pytest.approx(bits / len(text.encode(errors="replace")))
    assert line["metrics"]["loss"] == line["value"] and line["dtype"] == "float32"

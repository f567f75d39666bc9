"""Tasks are values: a new one can be registered and scored without any other change."""

import gzip
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from deepen.data.shards import Dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.errors import InvalidValueError
from deepen.evaluate.formats import Item, make_item
from deepen.evaluate.multiple_choice import MultipleChoice
from deepen.evaluate.registry import TASKS, get_task, register_task
from deepen.evaluate.scoring import CompletionScorer
from deepen.evaluate.task import Completion, CompletionModel, Score, Task, TaskError
from deepen.evaluate.task_file import hash_task_file
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.study import Arm, Study


def parse_pair(row: Any) -> Item:
    return make_item(row["before"], [row["good"], row["bad"]], label=0)


PAIRS = MultipleChoice(name="pairs", title="Pairs", chance=0.5, fields="before, good, bad", parse=parse_pair)


@dataclass(frozen=True)
class Surprise:
    """A task of another kind: the mean loss of each line after its first word, not a share of right answers."""

    name: str = "surprise"
    title: str = "Surprise"
    metric: str = "nats per token"
    chance: float | None = None

    def check(self, path: Path) -> None:
        if not path.read_text().strip():
            raise TaskError(f"{path} is empty", value=path)

    def load(self, path: Path, tokenizer: Any) -> list[Completion]:
        lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
        return [Completion(*(tuple(tokenizer.encode(part)) for part in line)) for line in lines]

    def score(self, model: CompletionModel, examples: list[Completion]) -> Score:
        losses = [score.mean_loss for (score,) in model.score_completions([[each] for each in examples])]
        return Score(value=sum(losses) / len(losses), stderr=0.0, n=len(losses), outcomes=tuple(losses))


@pytest.fixture(params=[PAIRS, Surprise()], ids=lambda task: task.name)
def new_task(request: pytest.FixtureRequest) -> Iterator[Task]:
    register_task(request.param)
    yield request.param
    del TASKS[request.param.name]


def test_a_registered_task_is_found_and_scores_a_model(
    new_task: Task, dataset: Dataset, model: ModelConfig, tmp_path: Path
):
    file = tmp_path / "task"
    file.write_text('{"before": "The treaty", "good": "was signed", "bad": "of of"}\n' * 3)
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    task = get_task(new_task.name)
    task.check(file)
    scorer = CompletionScorer(model=network, context=16, device=torch.device("cpu"))
    score = task.score(scorer, task.load(file, load_tokenizer(dataset.folder)))
    assert score.n == len(score.outcomes) == 3
    line = score.to_json()
    assert line["value"] == score.value
    if task.chance is None:
        assert line["outcomes"] == list(score.outcomes) and score.value == pytest.approx(6.2, abs=0.2)
    else:
        assert line["correct"] in ("000", "111") and score.value in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("new_task", [PAIRS], ids=lambda task: task.name, indirect=True)
def test_a_study_scores_a_registered_task_at_its_marks(
    new_task: Task, make_study: Callable[..., Study], run_study: Callable[..., Any], tmp_path: Path
):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"before": "The treaty", "good": "was signed", "bad": "of of"}\n' * 3)
    evaluation = Evaluation(every_tokens=512, validation_tokens=512, tasks=(TaskFile(task="pairs", path=file),))
    study = make_study(arms=(Arm(name="full", recipe="full"),), evaluation=evaluation, anchors=(1.0,))
    (arm,) = run_study(study, tmp_path / "study")["arms"]
    scores = [mark["tasks"]["pairs"] for mark in arm["marks"]]
    assert scores and all(score["n"] == 3 and score["value"] in (0, 1) for score in scores)


@pytest.mark.parametrize("name", ["hellaswag", "validation"])
def test_a_name_that_is_taken_is_refused(name: str):
    task = MultipleChoice(name=name, title="x", chance=0.5, fields="", parse=parse_pair)
    with pytest.raises(InvalidValueError, match="is taken"):
        register_task(task)
    assert TASKS["hellaswag"] is not task and "validation" not in TASKS


def test_an_unknown_task_is_refused_and_the_known_ones_are_named():
    with pytest.raises(InvalidValueError, match="'helaswag' is unknown: use hellaswag") as refused:
        get_task("helaswag")
    assert refused.value.field == "task" and "hellaswag" in refused.value.allowed


def test_a_task_file_is_identified_by_its_content(tmp_path: Path):
    file, elsewhere = tmp_path / "task.jsonl", tmp_path / "copy"
    file.write_bytes(b"some items")
    elsewhere.write_bytes(b"some items")
    assert hash_task_file(file) == hash_task_file(elsewhere) == hashlib.sha256(b"some items").hexdigest()
    elsewhere.write_bytes(gzip.compress(b"some items"))
    assert hash_task_file(file) == hash_task_file(elsewhere)
    elsewhere.write_bytes(b"other items")
    assert hash_task_file(file) != hash_task_file(elsewhere)


def test_a_path_that_cannot_be_hashed_is_refused(tmp_path: Path):
    for path, problem in ((tmp_path, "is not a file"), (Path("/dev/zero"), "is not a file")):
        with pytest.raises(TaskError, match=problem):
            hash_task_file(path)
    with pytest.raises(TaskError, match="does not exist"):
        hash_task_file(tmp_path / "none")


def test_a_score_of_right_and_wrong_answers_is_logged_as_a_string_of_them():
    score = Score.accuracy([True, False, False, True, True])
    assert score.to_json() == {"value": 0.6, "stderr": pytest.approx(0.2449, abs=1e-4), "n": 5, "correct": "10011"}
    assert Score(value=3.0, stderr=0.1, n=64).to_json() == {"value": 3.0, "stderr": 0.1, "n": 64}


def test_tasks_can_be_listed_without_torch():
    code = "import sys; from deepen.evaluate.registry import TASKS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

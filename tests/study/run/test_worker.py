"""Training one segment."""

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.rate import WSD, Constant, Rate
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.study import Arm, Study
from deepen.study.run.job import Job, make_jobs
from deepen.study.run.scheduler import find_pending
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store
from deepen.train.state import TrainState

BATCH, STEPS = 32, 6
CONSTANT = Constant(peak=1e-3)


@pytest.fixture
def make_short_study(make_study: Callable[..., Study], model: ModelConfig) -> Callable[..., Study]:
    """Makes a study of one segment, or two where the rate decays, with a validation every so many steps."""

    def make(every: int, rate: Rate = CONSTANT, tasks: tuple[TaskFile, ...] = ()) -> Study:
        return make_study(
            model=replace(model, depth=1),
            tokens=STEPS * BATCH,
            arms=(Arm(name="full", recipe="full"),),
            anchors=(1.0,),
            rate=rate,
            evaluation=Evaluation(every_tokens=every * BATCH, validation_tokens=64, tasks=tasks),
        )

    return make


def open_study(study: Study, dataset: Dataset, folder: Path) -> tuple[Tree, Store, dict[str, Job]]:
    """The tree of a study, its store in a new folder, and the job of each segment."""
    tree, store = compile_study(study, dataset.fingerprint), Store(folder / "study")
    store.open(study, {})
    return tree, store, make_jobs(tree, dataset, store.folder)


def test_a_segment_that_becomes_a_mark_is_evaluated_on_the_tasks_it_lacks(
    make_short_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    """Its end had a validation already, by the spacing, as in older versions; nothing is trained."""
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"ctx": "The Congress", "endings": ["met.", "ran away"], "label": 0}) + "\n")
    study = make_short_study(STEPS, tasks=(TaskFile(task="hellaswag", path=items),))
    tree, store, jobs = open_study(study, dataset, tmp_path)
    [node] = tree.nodes.values()
    job, folder = jobs[node.key], store.segment(node.key)
    [point] = node.evaluations
    before = replace(node, evaluations=(replace(point, tasks=("validation",)),))
    assert train_segment(replace(job, node=before), lambda: False)
    assert [line["task"] for line in folder.lines("evals")] == ["validation"]
    assert find_pending(tree, store) == [node]
    folder.reopen()
    assert train_segment(job, lambda: False)
    tasks = [line["task"] for line in folder.lines("evals")]
    assert tasks == ["validation", "validation at the mark", "hellaswag"]
    assert find_pending(tree, store) == [] and folder.log_problems() == []
    assert len(folder.lines("metrics")) == STEPS


def test_a_stop_during_an_evaluation_does_not_wait_for_its_end(
    make_short_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    """With many tasks an evaluation takes longer than a machine leaves time for; it is repeated later."""
    _, store, jobs = open_study(make_short_study(STEPS // 2), dataset, tmp_path)
    [(key, job)] = jobs.items()
    folder = store.segment(key)
    for steps, evaluations in ((STEPS // 2, 0), (STEPS, 1)):
        assert not train_segment(job, lambda steps=steps: len(folder.lines("metrics")) == steps)
        assert folder.state().progress.step == steps and folder.done is None
        assert len(folder.lines("evals")) == evaluations
    assert train_segment(job, lambda: False)
    assert [line["step"] for line in folder.lines("evals")] == [STEPS // 2, STEPS, STEPS]
    assert len(folder.lines("metrics")) == STEPS and folder.log_problems() == []


def test_a_mark_is_evaluated_again_from_its_own_state_alone(
    make_short_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    """The state before its decay is pruned by then; nothing is trained again, also after an interruption."""
    study = make_short_study(STEPS, rate=WSD(peak=1e-3, warmup_tokens=BATCH))
    tree, store, jobs = open_study(study, dataset, tmp_path)
    *before, last = tree.nodes.values()
    for node in before:
        assert train_segment(jobs[node.key], lambda: False)
    point = last.evaluations[-1]
    older = replace(last, evaluations=(replace(point, tasks=("validation",)),))
    assert train_segment(replace(jobs[last.key], node=older), lambda: False)
    for node in before:
        store.segment(node.key).remove_state()
    assert find_pending(tree, store) == [last]
    store.segment(last.key).reopen()
    assert find_pending(tree, store) == [last]
    assert train_segment(jobs[last.key], lambda: False)
    assert find_pending(tree, store) == []


def test_the_state_that_a_segment_begins_with_is_not_kept_while_it_trains(
    make_short_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    _, store, jobs = open_study(make_short_study(STEPS // 2), dataset, tmp_path)
    [(key, job)] = jobs.items()
    folder = store.segment(key)
    in_memory: list[list[TrainState]] = []

    def find_states() -> list[TrainState]:
        return [each for each in gc.get_objects() if type(each) is TrainState and each.weights]

    others = find_states()  # of other tests

    def look() -> None:
        if folder.lines("metrics"):
            in_memory.append([each for each in find_states() if not any(each is other for other in others)])

    assert train_segment(job, lambda: False, check_owner=look)
    assert in_memory[0] == []

"""A study's folder: the changes with which it can be continued, and one writer at a time."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.data.shards import Dataset, open_dataset
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.study import Arm, Study
from deepen.study.run.run_study import hash_inputs
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import TrainSettings

ITEM = json.dumps({"ctx": "The Congress", "endings": ["met.", "of of", "ran", "sea"], "label": 0}) + "\n"


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text(ITEM)
    return path


def with_files(study: Study, data: Path, items: Path) -> Study:
    tasks = (TaskFile(task="hellaswag", path=items),)
    return replace(
        study, data=str(data), evaluation=Evaluation(every_tokens=32, validation_tokens=64, tasks=tasks)
    )


def open_folder(store: Store, study: Study, dataset: Dataset) -> None:
    store.open(study, hash_inputs(study, dataset))


def test_data_and_task_files_can_be_moved(
    make_study: Callable[..., Study], dataset: Dataset, task_file: Path, tmp_path: Path
):
    store = Store(tmp_path / "study")
    open_folder(store, with_files(make_study(), dataset.folder, task_file), dataset)
    moved = tmp_path / "moved"
    shutil.copytree(dataset.folder, moved)
    task_file.rename(moved / "renamed.jsonl")
    study = with_files(make_study(), moved, moved / "renamed.jsonl")
    open_folder(store, study, open_dataset(moved, dataset.vocab))
    assert store.recorded("study")["data"] == str(moved)


def test_a_task_file_with_other_content_is_refused_wherever_it_is(
    make_study: Callable[..., Study], dataset: Dataset, task_file: Path, tmp_path: Path
):
    store, study = Store(tmp_path / "study"), with_files(make_study(), dataset.folder, task_file)
    open_folder(store, study, dataset)
    before = (store.folder / "study.json").read_bytes()
    task_file.write_text(ITEM * 2)
    with pytest.raises(StoreError, match="the file of task hellaswag differs from what"):
        open_folder(store, study, dataset)
    assert (store.folder / "study.json").read_bytes() == before


def test_another_tokenizer_is_refused(make_study: Callable[..., Study], dataset: Dataset, tmp_path: Path):
    store, study = Store(tmp_path / "study"), make_study()
    open_folder(store, study, dataset)
    with pytest.raises(StoreError, match="the tokenizer differs from what"):
        open_folder(store, study, replace(dataset, tokenizer_sha256="0" * 64))


def test_a_folder_of_deepen_0_1_records_only_its_data(
    make_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    study = make_study()
    inputs = hash_inputs(study, dataset)
    for fingerprint in (dataset.fingerprint, "other"):
        store = Store(tmp_path / fingerprint)
        store.folder.mkdir()
        content = {"study": study.to_json(), "data_fingerprint": fingerprint}
        (store.folder / "study.json").write_text(json.dumps(content))
        if fingerprint == dataset.fingerprint:
            store.check(study, inputs)
        else:
            with pytest.raises(StoreError, match="the data differs from what"):
                store.check(study, inputs)


def test_every_input_is_recorded_by_its_hash(
    make_study: Callable[..., Study], dataset: Dataset, task_file: Path, tmp_path: Path
):
    store, study = Store(tmp_path / "study"), with_files(make_study(), dataset.folder, task_file)
    open_folder(store, study, dataset)
    assert store.recorded("inputs") == {
        "data": {"fingerprint": dataset.fingerprint, "tokenizer_sha256": dataset.tokenizer_sha256},
        "tasks": {"hellaswag": study.evaluation.tasks[0].sha256},
        "recipes": {},
    }


def test_a_lock_stays_unverified_until_a_holder_has_verified(tmp_path: Path):
    with Store(tmp_path).lock() as lock:
        assert not lock.unverified
        lock.unverified = True  # its disk failed
    for _ in range(2):
        with Store(tmp_path).lock() as lock:
            assert lock.unverified
    with Store(tmp_path).lock() as lock:
        lock.unverified = False
    with Store(tmp_path).lock() as lock:
        assert not lock.unverified


def test_another_optimizer_is_refused_by_its_kind(make_study: Callable[..., Study], tmp_path: Path):
    store = Store(tmp_path / "study")
    store.open(make_study(settings=TrainSettings(optimizer=OptimizerSpec.muon())), {})
    with pytest.raises(StoreError, match=r"other settings \(settings; settings\.optimizer was MuonSpec\)"):
        store.open(make_study(), {})


def test_an_arm_that_changed_or_is_missing_is_named(make_study: Callable[..., Study], tmp_path: Path):
    def arm(start_depth: int) -> Arm:
        return Arm(name="small", recipe="small", options={"start_depth": start_depth})

    full = Arm(name="full", recipe="full")
    store = Store(tmp_path / "study")
    store.open(make_study(arms=(full, arm(1))), {})
    with pytest.raises(StoreError, match=r"\(arms; arms had 'small'\)"):
        store.open(make_study(arms=(full,)), {})
    with pytest.raises(StoreError, match=r"\(arms; arms\.small\.options\.start_depth was 1\)"):
        store.open(make_study(arms=(full, arm(2))), {})

"""Finding the checkpoint that a path means."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from deepen.errors import InvalidValueError
from deepen.interop.checkpoint import DeepenCheckpoint, HuggingFaceCheckpoint
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.history import Grown, Loaded, Trained
from deepen.interop.load import load_state
from deepen.model.config import ModelConfig
from deepen.study.define.study import Study
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state


@pytest.fixture(scope="module")
def trained() -> dict[str, Path]:
    return {}


@pytest.fixture
def folder(trained: dict[str, Path], study: Study, run_study: Callable[..., Any], tmp_path: Path) -> Path:
    """A study of two arms, with two seeds each."""
    if not trained:
        run_study(replace(study, seeds=(0, 1)), tmp_path / "study", keep="all")
        trained["study"] = tmp_path / "study"
    return trained["study"]


def found(path: Path, **which: Any) -> DeepenCheckpoint:
    checkpoint = find_checkpoint(path, **which)
    assert isinstance(checkpoint, DeepenCheckpoint)
    return checkpoint


def test_a_run_is_found_by_arm_and_seed_and_knows_its_history(folder: Path) -> None:
    checkpoint = found(folder, arm="one-shot", seed=1)
    (run,) = checkpoint.history
    assert isinstance(run, Trained)
    assert (run.arm, run.recipe, run.seed, checkpoint.seed) == ("one-shot", "one-shot", 1, 1)
    assert [(phase.depth, phase.growth) for phase in run.phases] == [
        (1, ""),
        (2, "1 to 2 blocks, from 0,0"),
    ]
    assert sum(phase.tokens for phase in run.phases) == run.tokens == checkpoint.progress.tokens
    results = json.loads((folder / "results.json").read_text())
    (arm,) = (arm for arm in results["arms"] if (arm["name"], arm["seed"]) == ("one-shot", 1))
    assert run.val_loss == arm["marks"][-1]["val_loss"] and run.flops == arm["marks"][-1]["flops"]
    assert checkpoint.folder.parent.name == arm["segments"][-1]


def test_a_state_and_its_segment_mean_the_same_checkpoint(folder: Path) -> None:
    checkpoint = found(folder, arm="full", seed=0)
    assert found(checkpoint.folder) == checkpoint == found(checkpoint.folder.parent)
    assert checkpoint == found(checkpoint.folder, arm="full", seed=0)
    with pytest.raises(InvalidValueError, match=r"arm is one-shot, but .*state is not a state of such a run"):
        find_checkpoint(checkpoint.folder, arm="one-shot")
    assert checkpoint.model.depth == 2 and load_state(checkpoint).depth == 2
    assert checkpoint.tokenizer is not None and (checkpoint.tokenizer / "tokenizer.json").exists()


def test_a_study_moved_elsewhere_has_the_same_checkpoint(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert found(moved, arm="full", seed=0).sha256 == found(folder, arm="full", seed=0).sha256
    assert found(moved, arm="full", seed=1).sha256 != found(folder, arm="full", seed=0).sha256


def test_a_folder_without_the_list_of_runs_is_read_by_its_results(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    study_json = json.loads((old / "study.json").read_text())
    del study_json["routes"], study_json["sha256"]
    (old / "study.json").write_text(json.dumps(study_json))
    checkpoint = found(old, arm="one-shot", seed=0)
    assert checkpoint.folder.relative_to(old) == found(folder, arm="one-shot", seed=0).folder.relative_to(folder)


def test_an_unfinished_run_is_found_at_its_newest_state(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    last = found(cut, arm="one-shot", seed=0)
    shutil.rmtree(last.folder.parent)
    newest = found(cut, arm="one-shot", seed=0)
    assert newest.model.depth == 1 and newest.progress.tokens < last.progress.tokens
    assert "arm 'one-shot' with seed 0 is not finished: this is its newest state" in capsys.readouterr().err
    shutil.rmtree(newest.folder)
    with pytest.raises(InvalidValueError, match="has no state of arm 'one-shot' with seed 0 yet"):
        find_checkpoint(cut, arm="one-shot", seed=0)


def test_a_damaged_state_of_a_study_is_replaced_by_the_one_before_it_with_a_warning(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    state = found(copy, arm="full", seed=0).folder
    shutil.copytree(state, old := state.with_name("state.old"))
    (state / "weights.safetensors").write_bytes(b"")
    assert found(copy, arm="full", seed=0).folder == old
    assert f"using {old} instead" in capsys.readouterr().err


def test_a_log_is_read_up_to_the_first_damaged_line(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    log = found(copy, arm="full", seed=0).folder.parent / "evals.jsonl"
    log.write_bytes(b"{}\n" + log.read_bytes())
    run = found(copy, arm="full", seed=0).history[-1]
    whole = found(folder, arm="full", seed=0).history[-1]
    assert isinstance(run, Trained) and isinstance(whole, Trained)
    assert run.train_loss == whole.train_loss and run.val_loss != whole.val_loss


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({}, "has arms 'full', 'one-shot' and seeds 0, 1: choose one with arm and seed"),
        ({"arm": "full"}, "choose one with seed"),
        ({"seed": 0}, "choose one with arm"),
        ({"arm": "ful", "seed": 0}, "arm 'ful' is unknown"),
        ({"arm": "full", "seed": 7}, "seed is 7, but"),
    ],
)
def test_which_run_is_meant_must_be_said(folder: Path, which: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        find_checkpoint(folder, **which)


def test_what_is_not_a_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="hf download openai/gpt --local-dir gpt"):
        find_checkpoint("openai/gpt")
    with pytest.raises(InvalidValueError, match="is not a checkpoint: name the folder of a study"):
        find_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidValueError, match=r"config.json is not JSON"):
        find_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gemma"}')
    other = find_checkpoint(tmp_path)
    assert isinstance(other, HuggingFaceCheckpoint) and other.model_type == "gemma" and other.tokenizer is None
    with pytest.raises(InvalidValueError, match=r"arm is full, but .* is not a study's folder"):
        find_checkpoint(tmp_path, arm="full")
    shutil.copytree(found(folder, arm="full", seed=0).folder, tmp_path / "state")
    with pytest.raises(InvalidValueError, match=r"is a state without model.json: name it inside its study"):
        find_checkpoint(tmp_path / "state")


def test_a_written_checkpoint_is_found_again(model: ModelConfig, folder: Path, tmp_path: Path) -> None:
    state = initial_state(model, 12, seed=3)
    history = (
        Loaded(source="gpt2", model_type="gpt2", blocks=6),
        *found(folder, arm="full", seed=0).history,
        Grown(old_depth=6, new_depth=12, operator="copy-zero"),
    )
    tokenizer = found(folder, arm="full", seed=0).tokenizer
    write_checkpoint(tmp_path / "out", state, model, history, tokenizer)
    checkpoint = found(tmp_path / "out")
    assert (checkpoint.model, checkpoint.seed, checkpoint.history) == (model, 3, history)
    assert checkpoint.tokenizer == tmp_path / "out"
    assert load_state(checkpoint).weights.keys() == state.weights.keys()
    with pytest.raises(InvalidValueError, match=r"is in use: it has content: name a new folder"):
        write_checkpoint(tmp_path / "out", state, model, history, tokenizer)
    (tmp_path / "out" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InvalidValueError, match=r"cannot be used: .*weights.safetensors is damaged"):
        find_checkpoint(tmp_path / "out")


def test_the_history_has_source_and_licence_of_the_data(folder: Path, dataset: Dataset, tmp_path: Path) -> None:
    """As `deepen data prepare` records them."""
    copy, data = tmp_path / "study", tmp_path / "data"
    shutil.copytree(folder, copy)
    shutil.copytree(dataset.folder, data)
    study_json = json.loads((copy / "study.json").read_text())
    study_json.pop("sha256")
    study_json["study"]["data"] = str(data)
    (copy / "study.json").write_text(json.dumps(study_json))

    def read(**facts: Any) -> Trained:
        (data / "dataset.json").write_text(json.dumps({"name": "mine", **facts}))
        run = found(copy, arm="full", seed=0).history[-1]
        assert isinstance(run, Trained) and run.data == "mine"
        return run

    hub = read(source={"dataset": "org/set", "config": "small", "revision": "abc"}, licence="odc-by")
    assert (hub.source, hub.licence) == ("org/set small abc", "odc-by")
    local = read(source={"path": "/home/me/texts.jsonl", "files": 1}, licence="", licences={"MIT": 3, "CC-BY": 1})
    assert (local.source, local.licence) == ("texts.jsonl", "MIT, CC-BY")
    assert read().source == ""

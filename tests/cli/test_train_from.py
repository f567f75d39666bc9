"""`deepen train RECIPE --from CKPT`: what becomes of the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.requests import train
from deepen.cli.requests.parser import RequestError
from deepen.data.shards import Dataset
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.hugging_face.config import make_config
from deepen.model.config import ModelConfig
from deepen.study.define.study import Arm, Study
from deepen.train.state import initial_state


@pytest.fixture
def folder(llama: ModelConfig, dataset: Dataset, tmp_path: Path) -> Path:
    """A checkpoint of four blocks."""
    model = replace(llama, depth=4)
    write_checkpoint(tmp_path / "mine", initial_state(model, 4, seed=0), model, (), dataset.folder)
    return tmp_path / "mine"


def problems(*words: str) -> tuple[str, ...]:
    with pytest.raises(RequestError) as refused:
        train.parse(words)
    return refused.value.problems


def test_model_and_start_depth_are_those_of_the_checkpoint(folder: Path, llama: ModelConfig) -> None:
    request = train.parse(["expand", "--from", str(folder), "--depth", "6", "--steps", "2"])
    study = request.study
    assert study.start is not None and study.start.depth == 4
    assert replace(study.model, name=llama.name, depth=12) == llama and study.model.depth == 6
    assert study.arms[0].options == {"start_depth": 4}
    assert request.folder.name == "expand-from-mine-depth-6-seed-0"
    continued = train.parse(["full", "--from", str(folder), "--steps", "2"])
    assert continued.study.model.depth == 4 and continued.folder.name == "full-from-mine-seed-0"


def test_each_run_of_a_study_is_continued_in_a_folder_of_its_own(
    make_study: Callable[..., Study], run_study: Callable[..., Any], model: ModelConfig, tmp_path: Path
) -> None:
    arms = (Arm(name="full", recipe="full"),)
    study = make_study(model=replace(model, depth=2), tokens=8 * 32, arms=arms, anchors=(1.0,), seeds=(0, 1))
    run_study(study, tmp_path / "study")
    words = ["full", "--from", str(tmp_path / "study"), "--from-arm", "full", "--steps", "2", "--from-seed"]
    names = [train.parse([*words, seed]).folder.name for seed in ("0", "1")]
    assert names == [f"full-from-study-arm-full-seed-{seed}-seed-0" for seed in (0, 1)]


def test_a_recipe_that_grows_needs_more_blocks_than_the_checkpoint(folder: Path) -> None:
    (missing,) = problems("expand", "--from", str(folder), "--steps", "2")
    assert missing.startswith("--depth is missing: the checkpoint has 4 blocks")
    (too_few,) = problems("expand", "--from", str(folder), "--depth", "3", "--steps", "2")
    assert too_few.startswith("--depth is 3: the checkpoint has 4 blocks")


def test_a_model_without_a_table_of_positions_can_get_a_longer_context(folder: Path) -> None:
    study = train.parse(["full", "--from", str(folder), "--context", "32", "--steps", "2"]).study
    assert study.model.context == study.context == 32


def test_growing_is_compared_with_continuing_as_it_is(folder: Path) -> None:
    study = train.parse(
        ["expand", "--from", str(folder), "--depth", "6", "--against", "small", "--steps", "2"]
    ).study
    assert [(arm.recipe, arm.options) for arm in study.arms] == [
        ("small", {"start_depth": 4}),
        ("expand", {"start_depth": 4}),
    ]


def test_what_contradicts_the_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    assert problems("expand", "--from", str(folder)) == (
        "--depth is missing: the checkpoint has 4 blocks, and recipe expand needs more",
    )
    found = problems("full", "--from", str(folder), "--model", "nano", "--width", "16", "--head", "tied")
    assert found == (
        "--model and --from both describe the model: leave --model out",
        "--width and --from both describe the model: leave --width out",
        "--head and --from both describe the model: leave --head out",
    )
    gemma = tmp_path / "gemma"
    gemma.mkdir()
    (gemma / "config.json").write_text('{"model_type": "gemma3_text"}')
    (problem,) = problems("full", "--from", str(gemma))
    assert "gemma3_text" in problem and "not trained" in problem
    (gemma / "config.json").write_text(json.dumps(make_config(initial_model())))
    (problem,) = problems("full", "--from", str(gemma))
    assert problem.startswith(f"--from {gemma} has no weights")
    (gemma / "pytorch_model.bin").touch()
    (problem,) = problems("full", "--from", str(gemma))
    assert "has only pickled weights" in problem and "save_pretrained" in problem


def initial_model() -> ModelConfig:
    return ModelConfig(name="small", depth=2, width=8, heads=2, context=16, vocab=512)

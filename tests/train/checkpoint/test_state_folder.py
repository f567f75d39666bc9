"""A state on disk: read back as it was saved, and replaced so that a complete one always exists."""

import shutil
from pathlib import Path

import pytest
import torch

from deepen.model.config import ModelConfig
from deepen.train.checkpoint.state_check import StateError
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.progress import Progress
from deepen.train.state import TrainState, initial_state


@pytest.fixture
def state(model: ModelConfig) -> TrainState:
    fresh = initial_state(model, 2, seed=4)
    moments = {
        name: {"exp_avg": torch.randn_like(w), "exp_avg_sq": torch.rand_like(w), "step": torch.tensor(3.0)}
        for name, w in fresh.weights.items()
    }
    progress = Progress(tokens=96, step=3, flops=10**18 + 1, seconds=1.25)
    return TrainState(weights=fresh.weights, moments=moments, depth=2, seed=4, progress=progress)


def test_a_saved_state_is_read_back(state: TrainState, tmp_path: Path):
    save_state(state, tmp_path / "state")
    read = load_state(tmp_path / "state")
    assert (read.depth, read.seed, read.progress) == (state.depth, state.seed, state.progress)
    assert all(torch.equal(read.weights[name], w) for name, w in state.weights.items())
    assert all(torch.equal(read.moments[n][k], t) for n, kept in state.moments.items() for k, t in kept.items())


@pytest.mark.parametrize("file", ["weights.safetensors", "moments.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_state_is_replaced_by_the_previous_one(
    state: TrainState, tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "state"
    save_state(state, folder)
    shutil.copytree(folder, tmp_path / "state.old")
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "delete":
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content if damage == "flip" else content[: len(content) // 2])
    read = load_state(folder, verify=True)
    warning = caplog.messages[0]
    assert str(folder / file) in warning and "state.old" in warning
    assert all(torch.equal(read.weights[name], w) for name, w in state.weights.items())
    shutil.rmtree(tmp_path / "state.old")
    with pytest.raises(StateError, match="state"):
        load_state(folder, verify=True)


def test_an_interrupted_save_keeps_the_previous_state(state: TrainState, tmp_path: Path):
    save_state(state, tmp_path / "state")
    (tmp_path / "state.new").mkdir()
    (tmp_path / "state.new" / "weights.safetensors").write_bytes(b"half")
    assert load_state(tmp_path / "state").progress == state.progress
    save_state(state, tmp_path / "state")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]

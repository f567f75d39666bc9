"""A state in shards: the same tensors as in a whole one, for any number of processes, and as safe."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepen import durable
from deepen.growth.grow import grow
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.model.lazy import LazyTensors
from deepen.train.checkpoint.state_check import StateError
from deepen.train.checkpoint.state_folder import load_state, open_state, save_state
from deepen.train.checkpoint.stream import write_tensors
from deepen.train.progress import Progress
from deepen.train.state import Share, TrainState, fresh_state, initial_state
from disks import FailingDisk
from shares import save_in_shares
from short_runs import is_same


@pytest.fixture
def state(model: ModelConfig) -> TrainState:
    """A state whose tensors differ, some in bf16, two without moments."""
    fresh, draw = initial_state(model, 3, seed=4), torch.Generator().manual_seed(0)
    weights = {name: torch.randn(w.shape, generator=draw) for name, w in fresh.weights.items()}
    moments = {
        name: {
            "exp_avg": torch.randn(w.shape, generator=draw).to(torch.bfloat16 if number % 2 else torch.float32),
            "exp_avg_sq": torch.rand(w.shape, generator=draw),
            "step": torch.tensor(float(number)),
        }
        for number, (name, w) in enumerate(weights.items())
        if number > 1
    }
    progress = Progress(tokens=96, step=3, flops=10**18 + 1, seconds=1.25)
    return replace(fresh, weights=weights, moments=moments, progress=progress, recent_losses=(2.5, 2.25))


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_state_in_shards_is_the_whole_state(count: int, state: TrainState, tmp_path: Path):
    """Of 50 processes, most have no row of a bias or of a matrix of 8 rows."""
    save_in_shares(state, tmp_path / "state", count)
    assert len(list((tmp_path / "state").glob("shard-*.safetensors"))) == count
    assert is_same(load_state(tmp_path / "state", verify=True), state)


@pytest.mark.parametrize("saved_by", [0, 3])
def test_any_number_of_processes_reads_its_rows(saved_by: int, state: TrainState, tmp_path: Path):
    if saved_by:
        save_in_shares(state, tmp_path / "state", saved_by)
    else:
        save_state(state, tmp_path / "state")
    sent = pickle.loads(pickle.dumps(open_state(tmp_path / "state").skeleton()))
    for count in (1, 2, 5, 40):
        for name, weight in state.weights.items():
            rows = [sent.weights.lazy[name].load(Share(n, count).rows(len(weight))) for n in range(count)]
            assert torch.equal(torch.cat(rows), weight)


def test_reading_a_share_leaves_the_other_files_alone(state: TrainState, tmp_path: Path):
    save_in_shares(state, tmp_path / "state", 3)
    opened = open_state(tmp_path / "state")
    for path in (tmp_path / "state").glob("shard-0000[13]-*"):
        path.unlink()
    for name, weight in state.weights.items():
        rows = Share(1, 3).rows(len(weight))
        assert torch.equal(opened.weights.lazy[name].load(rows), weight[rows.start : rows.stop])
    with pytest.raises(StateError, match="shard-00001-of-00003"):
        opened.load()


@pytest.mark.parametrize(
    "file", ["shard-00002-of-00002.safetensors", "tensors.json", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_state_is_replaced_by_the_previous_one(
    state: TrainState, tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "state"
    save_in_shares(state, folder, 2)
    shutil.copytree(folder, tmp_path / "state.old")
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "delete":
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert is_same(load_state(folder, verify=True), state)
    assert str(folder / file) in caplog.messages[0] and "state.old" in caplog.messages[0]
    shutil.rmtree(tmp_path / "state.old")
    with pytest.raises(StateError, match="state"):
        load_state(folder, verify=True)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_on_any_process_keeps_the_previous_state(
    call: int, state: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_in_shares(state, tmp_path / "state", 3)
    later = replace(state, progress=Progress(tokens=128))
    disk = FailingDisk(monkeypatch, "save_tensors", "ENOSPC")
    disk.fail_at(call)
    with pytest.raises(OSError, match="shard-0000"):
        save_in_shares(later, tmp_path / "state", 3)
    assert is_same(load_state(tmp_path / "state", verify=True), state)
    save_in_shares(later, tmp_path / "state", 3)
    assert load_state(tmp_path / "state").progress == later.progress
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_growth_at_load_time_is_that_of_the_whole_state(
    operator: str, state: TrainState, model: ModelConfig, tmp_path: Path
):
    save_in_shares(state, tmp_path / "state", 2)
    noise = 0.1 if OPERATORS[operator].copies and not OPERATORS[operator].zero_output else 0.0
    for moments in MOMENT_POLICIES:
        growth = Growth(operator=operator, moments=moments, noise=noise)
        grown = grow(open_state(tmp_path / "state"), 7, growth, model)
        assert isinstance(grown.weights, LazyTensors)
        whole = grow(state, 7, growth, model)
        assert is_same(grown.load(), whole)
        for name, weight in whole.weights.items():
            rows = Share(1, 3).rows(len(weight))
            assert torch.equal(grown.weights.lazy[name].load(rows), weight[rows.start : rows.stop])


def test_fresh_weights_are_drawn_one_by_one_in_any_order(model: ModelConfig):
    whole, drawn = initial_state(model, 3, seed=2), fresh_state(model, 3, seed=2)
    sent = pickle.loads(pickle.dumps(drawn))
    for name in reversed(list(whole.weights)):
        assert torch.equal(drawn.weights[name], whole.weights[name])
        assert torch.equal(sent.weights[name], whole.weights[name])


def test_a_streamed_file_has_the_bytes_that_the_library_writes(state: TrainState, tmp_path: Path):
    tensors = dict(state.weights) | {
        f"{name}:{key}": value for name, kept in state.moments.items() for key, value in kept.items()
    } | {"a": torch.zeros(0, 3), "b": torch.ones(2, dtype=torch.float64)}  # fmt: skip
    durable.save_tensors(tmp_path / "library", tensors)
    write_tensors(tmp_path / "streamed", tensors)
    assert (tmp_path / "streamed").read_bytes() == (tmp_path / "library").read_bytes()

"""States of sharded models: each process reads and writes its share, and together they are the whole state."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepen import durable
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.model.lazy import unread
from deepen.schedule.trainable import TrainedParts
from deepen.study.run import worker
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.index import shard_name
from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.checkpoint.state_folder import load_state, open_state, save_state
from deepen.train.distributed import saving
from deepen.train.distributed.leader import begin_engine
from deepen.train.distributed.processes import World
from deepen.train.distributed.saving import SaveNotes
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from ranks import Pools, Work, run_command
from shares import save_in_shares
from short_runs import CONTEXT, is_same, short_segment

pytestmark = pytest.mark.slow

OTHER_BYTES = 32 << 20
"""For whatever a process has beside tensors: buffers of gloo and of the allocator."""


def with_moments(state: TrainState) -> TrainState:
    """The state with moments that differ from tensor to tensor."""
    draw = torch.Generator().manual_seed(0)
    moments = {
        name: {
            "exp_avg": torch.randn(w.shape, generator=draw) / 1e4,
            "exp_avg_sq": torch.rand(w.shape, generator=draw) / 1e4,
            "step": torch.tensor(float(number + 1)),
        }
        for number, (name, w) in enumerate(state.weights.items())
    }
    return replace(state, moments=moments)


def growing_segment(model: ModelConfig, old: int, growth: Growth) -> Segment:
    """The short segment, which begins with growth and trains the topmost block alone."""
    depth = model.depth
    topmost = TrainedParts(depth=depth, blocks=(depth - 1,), head=False, embeddings=False)
    return replace(short_segment(model), growth=growth.resolve(old, depth), trains=topmost)


def load_and_save(
    world: World, stored: Path, segment: Segment, model: ModelConfig, dataset: Dataset, shard_group: int = 0
) -> Path:
    """Begin a segment with the model sharded, and save its state before the first step."""
    state = begin_segment(open_state(stored), segment, model)
    engine = begin_engine(
        state,
        segment,
        model=model,
        settings=TrainSettings(),
        dataset=dataset,
        window=CONTEXT,
        world=replace(world, shard=True, shard_group=shard_group),
        device=torch.device("cpu"),
    )
    out = stored.with_name(f"{stored.name} by {world.size}")
    save_state(engine.state(), out)
    return out


@pytest.mark.parametrize("size", [2, 4])
def test_what_processes_load_grow_and_save_is_the_whole_state_to_the_bit(
    size: int, pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    """Frozen parameters too keep their moments. Fewer processes or more read a state than wrote it."""
    model = replace(model, depth=5)
    state = with_moments(initial_state(model, 2, seed=1))
    save_state(state, tmp_path / "whole")
    save_in_shares(state, tmp_path / "shares", 3)
    for growth in (
        Growth(operator="interpolate", moments="copy", noise=0.1),
        Growth(operator="copy-zero", moments="copy"),
        Growth(operator="random", moments="keep"),
    ):
        segment = growing_segment(model, 2, growth)
        expected = begin_segment(state, segment, model)
        for stored in ("whole", "shares"):
            out = pools(size).call(load_and_save, tmp_path / stored, segment, model, dataset)
            assert len(list(out.glob("shard-*"))) == size
            assert is_same(load_state(out, verify=True), expected)


def test_of_two_copies_in_two_shards_one_is_saved_and_any_number_of_processes_reads_it(
    pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    """A mesh of 2 × 2 grows a state; then two processes with a share each read what it saved, and save that."""
    model = replace(model, depth=5)
    state = with_moments(initial_state(model, 2, seed=1))
    save_in_shares(state, tmp_path / "stored", 3)
    segment = growing_segment(model, 2, Growth(operator="interpolate", moments="copy", noise=0.1))
    expected = begin_segment(state, segment, model)
    by_four = pools(4).call(load_and_save, tmp_path / "stored", segment, model, dataset, shard_group=2)
    assert [path.name for path in sorted(by_four.glob("shard-*"))] == [shard_name(0, 2), shard_name(1, 2)]
    assert is_same(load_state(by_four, verify=True), expected)
    grown = replace(segment, growth=None)
    assert is_same(load_state(pools(2).call(load_and_save, by_four, grown, model, dataset), verify=True), expected)
    again = pools(4).call(load_and_save, by_four, grown, model, dataset, shard_group=2)
    for path in by_four.glob("shard-*"):
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_no_process_holds_more_than_its_share_and_one_tensor(
    pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    """Peak memory of each process: its share, the copy of it that is written, and the tensors of one mixture.

    The whole state would not fit into the bound.
    """
    size, old = 4, 3
    wide = ModelConfig(name="wide", depth=6, width=512, heads=8, context=CONTEXT, vocab=model.vocab)
    segment = growing_segment(wide, old, Growth(operator="interpolate", moments="copy"))
    state = with_moments(initial_state(wide, old, seed=1))
    save_in_shares(state, tmp_path / "stored", 2)
    grown = begin_segment(open_state(tmp_path / "stored"), segment, wide)
    whole = grown.nbytes
    largest = max(tensor.nbytes for tensor in unread(grown.weights).values())
    del state, grown
    tiny = growing_segment(replace(model, depth=5), 2, Growth(operator="random"))
    save_state(initial_state(model, 2, seed=1), tmp_path / "tiny")
    pools(size).call(load_and_save, tmp_path / "tiny", tiny, replace(model, depth=5), dataset)  # imports
    before = [start_measuring(process) for process in pools(size).process_ids]
    pools(size).call(load_and_save, tmp_path / "stored", segment, wide, dataset)
    bound = 2 * whole / size + 3 * largest + OTHER_BYTES
    assert bound < 0.8 * whole
    for process, began in zip(pools(size).process_ids, before, strict=True):
        peak = read_memory(process, "VmHWM") - began
        print(f"peak {peak / 1e6:.0f} MB, bound {bound / 1e6:.0f} MB, whole state {whole / 1e6:.0f} MB")
        assert whole / size < peak < bound


def start_measuring(process: int) -> int:
    """Reset the peak of a process's memory; returns what it has now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return read_memory(process, "VmRSS")


def read_memory(process: int, name: str) -> int:
    """A number of bytes of Linux's status of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def ask_soon() -> None:
    saving.ROLL_CALL_SECONDS = 0.5


def die_in_second_save() -> None:
    real, saves = durable.save_tensors, 0

    def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, tensors)

    durable.save_tensors = save


def die_as_share_is_copied() -> None:
    SaveNotes.write_on_request = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("victim", "dies"),
    [(1, die_in_second_save), (3, die_as_share_is_copied)],
    ids=["one that writes", "one of the other copy"],
)
def test_two_copies_killed_in_a_save_continue_on_another_number_of_processes(
    victim: int, dies: Work, dataset: Dataset, tmp_path: Path
):
    """The first of two segments is saved: that takes one copy, and a process of the other may die meanwhile."""
    out = tmp_path / "run"
    run = ["train", "one-shot", "--context", "16", "--batch-tokens", "64", "--steps", "8", "--rate", "constant"]
    run += ["--data", str(dataset.folder), "--out", str(out)]
    codes = run_command(4, [*run, "--shard", "node"], {0: ask_soon} | {victim: dies}, local_size=2)
    assert codes[victim] == -signal.SIGKILL
    assert [code for rank, code in enumerate(codes) if rank != victim] == [1, 1, 1]
    (good,) = out.glob("segments/*/state/manifest.json")
    before = load_state(good.parent, verify=True)
    assert len(list(good.parent.glob("shard-*"))) == 2 and before.progress.tokens > 0
    assert run_command(2, [*run, "--shard"], {}) == [0, 0]
    assert main(["store", "check", str(out)]) == 0
    segments = list(out.glob("segments/*"))
    assert len(segments) == 2 and all((segment / "done.json").exists() for segment in segments)


@pytest.mark.parametrize("victim", [0, 1], ids=["the leader", "a follower"])
def test_a_run_killed_in_a_save_continues_in_one_process_from_the_state_before(
    victim: int, dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    run = ["train", "one-shot", "--context", "16", "--batch-tokens", "64", "--steps", "8", "--rate", "constant"]
    run += ["--data", str(dataset.folder), "--out", str(out)]
    ends: dict[int, Work] = {0: ask_soon} | {victim: die_in_second_save}
    codes = run_command(2, [*run, "--shard"], ends)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 1
    good, *others = sorted(path.parent.name for path in out.glob("segments/*/state*/manifest.json"))
    assert good == "state" and not others
    assert len(list(out.glob("segments/*/state.new/shard-*"))) >= 1
    assert main(run) == 0
    assert main(["store", "check", str(out)]) == 0
    segments = list(out.glob("segments/*"))
    assert len(segments) == 2 and all((segment / "done.json").exists() for segment in segments)


def save_after_each_step_as_late_as_possible() -> None:
    """A save in the background begins to write when training waits for it, as on a disk that is slow to answer."""
    worker.SAVE_EVERY_SECONDS = 0.0
    real_wait, real_begin, is_awaited = BackgroundSaver.wait, saving.OtherProcesses.begin, threading.Event()

    def wait(saver: BackgroundSaver[[]]) -> None:
        if saver.busy:
            is_awaited.set()
        real_wait(saver)

    def begin(others: saving.OtherProcesses, folder: Path) -> None:
        if threading.current_thread() is not threading.main_thread():
            is_awaited.wait()
            is_awaited.clear()
        real_begin(others, folder)

    BackgroundSaver.wait, saving.OtherProcesses.begin = wait, begin


def test_a_state_that_is_due_before_the_last_one_is_written_waits_for_it(dataset: Dataset, tmp_path: Path):
    out = tmp_path / "run"
    run = ["train", "full", "--context", "16", "--batch-tokens", "64", "--steps", "4", "--rate", "constant"]
    run += ["--data", str(dataset.folder), "--out", str(out), "--shard"]
    assert run_command(2, run, {0: save_after_each_step_as_late_as_possible}) == [0, 0]
    assert main(["store", "check", str(out)]) == 0

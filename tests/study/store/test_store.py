"""Disks that fail and files that are damaged: no complete state is lost, and no damage is used silently."""

import errno
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compare import without_times
from deepen import api, durable
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.study.run import worker
from deepen.study.run.ownership import SupersededError
from deepen.study.store.errors import StoreError
from deepen.study.store.lock import keep_writers_out
from deepen.study.store.maintenance import prune
from deepen.study.store.retention import RETENTION_POLICIES, RetentionPolicy
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_check import StateError, read_header
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.progress import Progress
from deepen.train.state import TrainState, initial_state
from disks import FAULTS, FailingDisk


def a_state(model: ModelConfig, step: int) -> TrainState:
    fresh = initial_state(model, 2, seed=step)
    moments = {name: {"exp_avg": w + 1, "step": torch.tensor(float(step))} for name, w in fresh.weights.items()}
    return TrainState(
        weights=fresh.weights, moments=moments, depth=2, seed=4, progress=Progress(tokens=32 * step, step=step)
    )


def same(one: TrainState, other: TrainState) -> bool:
    weights = all(torch.equal(w, other.weights[name]) for name, w in one.weights.items())
    moments = all(torch.equal(t, other.moments[n][k]) for n, kept in one.moments.items() for k, t in kept.items())
    return weights and moments and one.progress == other.progress


@pytest.mark.parametrize(("primitive", "fault"), FAULTS)
def test_wherever_a_save_fails_a_complete_state_is_left(
    primitive: str, fault: str, model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before, after, later = (a_state(model, step) for step in (1, 2, 3))
    disk = FailingDisk(monkeypatch, primitive, fault)
    save_state(before, tmp_path / "counted" / "state")
    disk.fail_at(0)
    save_state(after, tmp_path / "counted" / "state")
    calls = disk.calls
    assert calls >= {"write": 2, "save_tensors": 2, "fsync": 6, "rename": 3}[primitive]
    for n in range(1, calls + 1):
        folder = tmp_path / str(n) / "state"
        disk.fail_at(0)
        save_state(before, folder)
        disk.fail_at(n)
        with pytest.raises(OSError):
            save_state(after, folder)
        left = load_state(folder, verify=True)
        assert same(left, before) or same(left, after)
        save_state(later, folder)
        assert same(load_state(folder, verify=True), later)
        assert [path.name for path in folder.parent.iterdir()] == ["state"]


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> str:
    file = tmp_path_factory.mktemp("file") / "tiny.py"
    file.write_text(
        "from deepen import WSD, Arm, Evaluation, ModelConfig, Study\n"
        "model = ModelConfig(name='test', depth=2, width=8, heads=2, context=16, vocab=512)\n"
        "arms = (Arm(name='full', recipe='full'), Arm(name='one-shot', recipe='one-shot',\n"
        "    options={'start_depth': 1}))\n"
        "evaluation = Evaluation(every_tokens=128, validation_tokens=128)\n"
        "study = Study(name='tiny', model=model, tokens=512, batch_tokens=32, context=16, arms=arms,\n"
        f"    evaluation=evaluation, rate=WSD(peak=8e-3), anchors=(0.7, 1.0), data={str(dataset.folder)!r})\n"
    )
    return str(file)


@pytest.fixture
def run(study_file: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `deepen study` on a tiny study in this process, saving after every step, without drawing."""
    monkeypatch.setattr(api, "draw_report", lambda results, folder: None)
    monkeypatch.setattr(worker, "SAVE_EVERY_SECONDS", 0.0)
    return lambda out, *more: main(["study", study_file, "--jobs", "1", "--out", str(out), *more])


@pytest.fixture(scope="module")
def finished(study_file: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of the tiny study that keeps every final state."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "draw_report", lambda results, folder: None)
        assert main(["study", study_file, "--jobs", "1", "--out", str(out), "--keep", "all"]) == 0
    return out


def read_results(folder: Path) -> Any:
    return without_times(json.loads((folder / "results.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(("primitive", "fault"), FAULTS)
def test_a_run_whose_disk_fails_ends_with_one_line_and_continues_to_the_same_results(
    primitive: str,
    fault: str,
    run: Callable[..., int],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    disk = FailingDisk(monkeypatch, primitive, fault)
    assert run(tmp_path / "counted") == 0
    assert read_results(tmp_path / "counted") == read_results(finished)  # saving at every step changes nothing
    for n in range(1, disk.calls + 1, max(1, disk.calls // 7)):
        capsys.readouterr()
        disk.fail_at(n)
        assert run(tmp_path / str(n)) == 1, n
        errors = capsys.readouterr().err
        assert errors.count("error: ") == 1 and "Traceback" not in errors and "same command continues" in errors
        disk.fail_at(0)
        assert run(tmp_path / str(n)) == 0, capsys.readouterr().err
        assert read_results(tmp_path / str(n)) == read_results(finished)
        assert main(["store", "check", str(tmp_path / str(n))]) == 0


@pytest.mark.slow
def test_whenever_a_save_is_due_everything_is_logged_once(
    run: Callable[..., int], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The clock is read several times between two steps; a save becomes due at each of these readings."""
    for readings in range(1, 9):
        monkeypatch.setattr(worker, "SAVE_EVERY_SECONDS", float(readings))
        monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=itertools.count().__next__))
        assert run(tmp_path / str(readings)) == 0
        assert read_results(tmp_path / str(readings)) == read_results(finished)
        assert main(["store", "check", str(tmp_path / str(readings))]) == 0


def test_a_state_without_its_manifest_is_damaged_not_absent(
    run: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    manifest = min(out.glob("segments/*/state/manifest.json"))
    manifest.unlink()
    assert main(["store", "check", str(out)]) == 1
    assert f"{manifest} is missing" in capsys.readouterr().out
    assert run(out, "--keep", "all") == 0
    assert f"{manifest} is missing" in capsys.readouterr().err
    assert read_results(out) == read_results(finished)
    assert main(["store", "check", str(out)]) == 0


def test_what_was_checked_is_counted(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for segment in sorted((out / "segments").iterdir())[1:]:
        shutil.rmtree(segment)
    assert main(["store", "check", str(out)]) == 0
    printed = capsys.readouterr().out
    assert ": 1 segment, 1 done, " in printed and " 1 good state; nothing is damaged" in printed


def test_an_interrupted_removal_is_completed(
    run: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for state in out.glob("segments/*/state"):
        gone = state.with_name("state.gone")
        shutil.copytree(state, gone)
        (gone / "manifest.json").unlink()
    assert run(out, "--keep", "all") == 0
    assert capsys.readouterr().err.count("warning") == 0
    assert {path.name for path in out.glob("segments/*/state*")} == {"state"}


STATE_FILES = ("weights.safetensors", "moments.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("damage", ["flip", "truncate"])
@pytest.mark.parametrize(
    "file",
    [f"state/{name}" for name in STATE_FILES]
    + ["done.json", "spec.json", "metrics.jsonl", "evals.jsonl", "../../study.json", "../../results.json"],
)
def test_a_damaged_file_is_named_and_trained_again(
    file: str,
    damage: str,
    run: Callable[..., int],
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    folder = next(path.parent for path in sorted(out.glob("segments/*/evals.jsonl")))
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert main(["store", "check", str(out)]) == 1
    assert path.name in capsys.readouterr().out
    assert main(["store", "check", str(out), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"] >= 1
    code, errors = run(out, "--verify", "--keep", "all"), capsys.readouterr().err
    assert path.name in errors and "damaged" in errors
    if path.name == "study.json":
        assert code == 2
        return
    assert code == 0
    assert read_results(out) == read_results(finished)
    assert main(["store", "check", str(out)]) == 0


def flip_in_a_tensor(out: Path) -> Path:
    path = max(out.glob("segments/*/state/weights.safetensors"))
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return path


def test_after_a_kill_every_byte_is_hashed_until_a_run_ends_normally(
    run: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    path = flip_in_a_tensor(out)
    assert run(out, "--keep", "all") == 0
    assert "damaged" not in capsys.readouterr().err  # the quick check does not detect it
    (out / "lock.holder").write_text("process 1 on a machine that lost its power\n")
    assert main(["store", "prune", str(out), "--keep", "forks"]) == 0
    assert (out / "lock.holder").exists()  # pruning does not verify every state, so the note stays
    shutil.copytree(finished, out, dirs_exist_ok=True)
    flip_in_a_tensor(out)
    capsys.readouterr()
    assert run(out, "--keep", "all") == 0
    assert f"{path} is damaged" in capsys.readouterr().err
    assert not (out / "lock.holder").exists()
    assert main(["store", "check", str(out)]) == 0


@pytest.mark.parametrize(
    "header",
    [
        (1 << 62).to_bytes(8, "little") + b"{}",
        b"\x02\0\0\0\0\0\0\0[]",
        *(
            len(text).to_bytes(8, "little") + text + b"\0" * 8
            for text in (
                b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
                b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
                b'{"a":{"dtype":"F32","shape":[0,4398046511104],"data_offsets":[0,0]}}',
                b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],'
                b'"data_offsets":[0,8]}}',
                b"[" * 100_000,
            )
        ),
    ],
)
def test_a_forged_header_is_refused_before_anything_is_allocated(
    header: bytes, model: ModelConfig, tmp_path: Path
):
    folder = tmp_path / "state"
    save_state(a_state(model, 1), folder)
    (folder / "weights.safetensors").write_bytes(header)
    manifest = durable.read_json(folder / "manifest.json")
    assert manifest is not None
    manifest["weights.safetensors"] = {"bytes": len(header)}
    durable.write_json(folder / "manifest.json", manifest)
    with pytest.raises(StateError, match=r"weights.safetensors"):
        load_state(folder)


def test_a_state_is_never_ahead_of_its_logs(model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The logs are made durable before the manifest, and a log that is shorter than the state's is detected."""
    folder, order, real = SegmentFolder(tmp_path), [], durable.fsync
    monkeypatch.setattr(durable, "fsync", lambda path: (order.append(path.name), real(path)))
    folder.append("metrics", [{"step": 1, "tokens": 32}])
    folder.append("evals", [{"tokens": 32, "task": "validation"}])
    folder.save(a_state(model, 1))
    assert order[:2] == ["metrics.jsonl", "evals.jsonl"]
    folder.append("metrics", [{"step": 2, "tokens": 64}])
    assert folder.log_problems() == []
    (tmp_path / "metrics.jsonl").write_text("")
    assert "metrics.jsonl" in folder.log_problems()[0]


def test_a_writer_that_is_superseded_while_it_saves_leaves_the_existing_state(model: ModelConfig, tmp_path: Path):
    def check() -> None:
        if (tmp_path / "state.new").exists():
            raise SupersededError

    SegmentFolder(tmp_path).save(a_state(model, 1))
    with pytest.raises(SupersededError):
        SegmentFolder(tmp_path, check).save(a_state(model, 2))
    assert read_header(tmp_path / "state").progress.step == 1


def kept_states(out: Path) -> set[str]:
    return {path.parent.name for path in out.glob("segments/*/state")}


@pytest.mark.slow
def test_a_run_and_pruning_keep_the_states_of_the_policy(
    run: Callable[..., int], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for keep in ("last", "forks"):
        assert run(tmp_path / keep, "--keep", keep) == 0
        out = tmp_path / f"pruned-{keep}"
        shutil.copytree(finished, out)
        capsys.readouterr()
        assert main(["store", "prune", str(out), "--keep", keep, "--json"]) == 0
        freed = json.loads(capsys.readouterr().out)
        assert kept_states(out) == kept_states(tmp_path / keep)
        assert {Path(path).parent.name for path in freed["freed"]} == kept_states(finished) - kept_states(out)
        assert freed["bytes"] > 0
        assert main(["store", "prune", str(out), "--keep", keep]) == 0
        assert "Nothing to free" in capsys.readouterr().out
        assert run(out, "--keep", keep) == 0  # it trains nothing again
        assert read_results(out) == read_results(finished)
    lineage = json.loads((finished / "study.json").read_text())["lineage"]
    forks = {key for key, children in lineage["children"].items() if len(children) > 1}
    assert kept_states(tmp_path / "last") == set(lineage["marks"])
    assert kept_states(tmp_path / "forks") == set(lineage["marks"]) | forks
    assert kept_states(finished) == {path.name for path in finished.glob("segments/*")}
    assert run(tmp_path / "forks", "--keep", "last") == 0  # the next run may use another --keep
    assert kept_states(tmp_path / "forks") == set(lineage["marks"])


def test_a_custom_policy_is_one_value(finished: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    parents = RetentionPolicy(name="parents", help="from which any starts", keeps=lambda children: children > 0)
    assert prune(Store(out), parents) == {} and kept_states(out) == kept_states(finished)
    assert prune(Store(out), RETENTION_POLICIES["last"]) != {} and kept_states(out) < kept_states(finished)


def test_a_state_whose_successor_is_damaged_is_not_pruned(finished: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    lineage = json.loads((out / "study.json").read_text())["lineage"]
    parent, children = next((key, children) for key, children in lineage["children"].items() if children)
    weights = Store(out).segment(children[0]).folder / "state" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert main(["store", "prune", str(out), "--keep", "last"]) == 0
    assert {parent, children[0]} <= kept_states(out)


def test_a_folder_in_use_is_left_alone(finished: Path, capsys: pytest.CaptureFixture[str]):
    with Store(finished).lock():
        assert main(["store", "prune", str(finished), "--keep", "last"]) == 2
        assert "in use" in capsys.readouterr().err


def describe_files(folder: Path) -> dict[str, tuple[int, int]]:
    """The time of the last change of every file and folder, and its size."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in (folder, *folder.rglob("*"))}


def test_a_check_writes_nothing(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "lock.holder").write_text("process 1 on a machine that lost its power\n")
    for lock in ("there", "missing"):
        if lock == "missing":
            (out / "lock").unlink()
        before = describe_files(out)
        assert main(["store", "check", str(out)]) == 0, lock
        assert describe_files(out) == before, lock
    assert "nothing is damaged" in capsys.readouterr().out


def test_a_check_waits_for_no_writer_and_two_checks_share_the_folder(
    finished: Path, capsys: pytest.CaptureFixture[str]
):
    with Store(finished).lock():
        assert main(["store", "check", str(finished)]) == 2
        assert "in use by process" in capsys.readouterr().err
    with keep_writers_out(finished):
        assert main(["store", "check", str(finished)]) == 0
        with pytest.raises(StoreError, match="in use"), Store(finished).lock():
            pass


def test_a_run_that_fails_before_it_begins_leaves_no_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="wrong"), Store(tmp_path / "runs" / "study").lock():
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine").touch()
    with pytest.raises(ValueError, match="wrong"), Store(tmp_path / "study").lock():
        raise ValueError("wrong")
    assert (tmp_path / "study" / "mine").exists()


def test_a_file_system_without_locks_is_an_error_of_one_line(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))  # the error of Lustre

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run(tmp_path / "run") == 2
    line = f"error: {tmp_path}/run/lock: this file system has no locks (mount Lustre with -o flock)\n"
    assert capsys.readouterr().err.endswith(line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "ACTION"),
        (["prone", "x"], "did you mean 'prune'"),
        (["check", "nowhere"], "nowhere"),
        (["prune", "nowhere"], "--keep is missing"),
        (["prune", "nowhere", "--keep", "all"], "use last, trunk or forks"),
    ],
)
def test_a_wrong_request_is_answered_with_the_right_choices(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["store", *arguments]) == 2
    assert word in capsys.readouterr().err

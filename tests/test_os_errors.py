"""Errors of the system are passed on, and a file that cannot be read now is not taken for damaged."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deepen import durable
from deepen.os_errors import explain
from deepen.train.checkpoint.state_folder import load_state, recover, save_state
from deepen.train.state import TrainState

STATE = TrainState(weights={"w": torch.zeros(9)}, depth=1, seed=0)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("EMFILE", "ulimit -n"),
        ("EIO", "disk"),
        ("EACCES", "permissions"),
        ("ENOSPC", "space"),
        ("ESTALE", "repeat"),
    ],
)
def test_an_error_of_the_system_has_its_words_and_a_remedy_that_fits(name: str, word: str):
    number = getattr(errno, name)
    problem, remedy = explain(OSError(number, os.strerror(number), "file"))
    assert problem == os.strerror(number) and word in remedy and "copy" not in remedy


def test_an_error_that_has_no_number_keeps_its_text():
    assert explain(OSError("4 bytes were written and 3 arrived")) == ("4 bytes were written and 3 arrived", "")


def make_unreadable(path: Path) -> None:
    """A link to itself stands in for a disk that does not answer: the system raises ELOOP, for any user."""
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path.name)


@pytest.mark.parametrize("name", ["state.json", "manifest.json", "weights.safetensors", "moments.safetensors"])
def test_a_state_that_cannot_be_read_now_is_not_damaged_and_stays(name: str, tmp_path: Path):
    folder = tmp_path / "state"
    save_state(STATE, folder)
    make_unreadable(folder / name)
    for use in (load_state, recover):
        with pytest.raises(OSError, match=name) as failed:
            use(folder)
        assert failed.value.errno == errno.ELOOP
    (folder / name).unlink()
    (folder / name).with_suffix(".kept").rename(folder / name)
    assert torch.equal(load_state(folder).weights["w"], STATE.weights["w"])


def test_a_json_file_that_cannot_be_read_now_is_neither_absent_nor_damaged(tmp_path: Path):
    path = tmp_path / "done.json"
    assert durable.read_json(path) is None
    durable.write_json(path, {"tokens": 1})
    make_unreadable(path)
    with pytest.raises(OSError, match=r"done\.json"):
        durable.read_json(path)


def test_the_system_error_behind_a_tensor_file_that_cannot_be_written_is_passed_on(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    code = (
        "import resource, signal, torch; from pathlib import Path; from deepen import durable; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))\n"
        f"try: durable.save_tensors(Path({str(path)!r}), {{'w': torch.zeros(9000)}})\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1) == [str(errno.EFBIG), f"{path}\n"], done.stderr


def test_a_state_may_be_in_a_folder_whose_name_is_not_text(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"\xff") / "state"
    save_state(STATE, folder)
    assert torch.equal(load_state(folder).weights["w"], STATE.weights["w"])

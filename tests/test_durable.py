"""Folders that are whole or absent."""

import os
from pathlib import Path

import pytest

from deepen.durable import check_new_folder, new_folder
from deepen.errors import InvalidValueError


def test_a_new_folder_appears_when_it_is_complete(tmp_path: Path):
    out = tmp_path / "made" / "out"
    with new_folder(out) as temporary:
        (temporary / "file").write_text("content")
        assert not out.exists()
    assert (out / "file").read_text() == "content"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_new_folder_that_fails_leaves_nothing(tmp_path: Path):
    """Of its own; what lies beside it is somebody else's."""
    (tmp_path / ".out.unfinished").mkdir()
    (tmp_path / ".out.unfinished" / "left by a killed command").write_text("")
    (tmp_path / "out.new").mkdir()
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out") as temporary:
        assert not list(temporary.iterdir())
        (temporary / "file").write_text("content")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out.new"]


def test_an_empty_folder_can_be_filled_and_a_used_one_cannot(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    check_new_folder(out, "out")
    with new_folder(out) as temporary:
        (temporary / "file").write_text("content")
    with pytest.raises(InvalidValueError, match=r"out .*out is in use: it has content: name a new folder"):
        check_new_folder(out, "out")
    with pytest.raises(InvalidValueError, match=r"is not a folder: .*file is a file"):
        check_new_folder(out / "file" / "out", "out")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path):
    with pytest.raises(InvalidValueError, match="n\ufffd has a name that is not UTF-8: rename it"):
        check_new_folder(tmp_path / "n\udcff", "out")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions of POSIX, which bind root not")
def test_an_empty_folder_in_a_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "above" / "empty").mkdir(parents=True)
    (tmp_path / "above").chmod(0o500)
    with pytest.raises(InvalidValueError, match=r"cannot be written: no permission in .*above$"):
        check_new_folder(tmp_path / "above" / "empty", "out")

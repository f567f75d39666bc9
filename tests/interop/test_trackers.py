"""Trackers: what is refused before a run begins, and what they print."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.trackers import TRACKERS, _quiet, get_tracker


def test_an_unknown_tracker_is_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="'mlflow' is unknown: use tensorboard, wandb or trackio"):
        get_tracker("mlflow")


def test_wandb_without_a_login_is_refused_and_offline_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # no login is stored here
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(InvalidValueError, match="nobody is logged in: run `wandb login`, or set WANDB_MODE"):
        TRACKERS["wandb"].check()
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    with pytest.raises(InvalidValueError, match="wandb cannot log in"):
        TRACKERS["wandb"].check()
    monkeypatch.setenv("WANDB_MODE", "offline")
    TRACKERS["wandb"].check()


def test_what_other_threads_print_while_a_tracker_is_kept_quiet_is_not_lost(capsys: pytest.CaptureFixture[str]):
    with ThreadPoolExecutor(1) as other, _quiet():
        print("the tracker's")
        other.submit(print, "the result").result()
    print("afterwards")
    assert capsys.readouterr().out == "the result\nafterwards\n"

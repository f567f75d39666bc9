"""SIGKILL at random moments of a growing study, and in the middle of disk operations; each run is continued.

The full test, which takes hours:

    DEEPEN_KILLS=200 DEEPEN_KILL_EVERY=1 pytest -s tests/study/run/test_kills.py
"""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from leftovers import differences, read_files

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("DEEPEN_KILLS", "20"))
KILL_EVERY = int(os.environ.get("DEEPEN_KILL_EVERY", "199"))
"""A process is killed at every n-th disk operation."""

Life = Callable[..., str]
"""(folder, after=seconds or at=number of the disk operation) → `killed`, or the exit code of the run."""


@pytest.fixture(scope="module")
def live(dataset: Dataset) -> Iterator[Life]:
    driver = Path(__file__).parents[2] / "support" / "kill_driver.py"
    with subprocess.Popen(
        [sys.executable, str(driver), str(dataset.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def live(folder: Path, **when: float) -> str:
            ((how, number),) = when.items()
            print(folder, how, number, file=process.stdin, flush=True)
            return process.stdout.readline().strip()  # type: ignore[union-attr]

        yield live
        process.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(live: Life, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    assert live(folder, at=0) == "0"
    return read_files(folder)


def where(folder: Path) -> str:
    """The moment of a kill, from the files that are left."""
    if any(folder.glob("segments/*/state.new")):
        return "in a save"
    if any(folder.glob("segments/*/state.old")):
        return "between two states"
    return "elsewhere" if any(folder.glob("segments/*/state")) else "before any state"


def test_a_study_killed_anywhere_ends_as_if_undisturbed(
    live: Life, undisturbed: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
):
    draw, killed = random.Random(int(os.environ.get("DEEPEN_KILLS_SEED", "0"))), Counter[str]()
    study = 0
    while killed.total() < KILLS:
        folder = tmp_path / f"study-{study}"
        while killed.total() < KILLS:
            answer = live(folder, after=draw.choice([0.15, 0.5, 1.0]) * draw.random())
            if answer != "killed":
                break
            killed[where(folder)] += 1
        if answer == "killed":
            answer = live(folder, at=0)
        assert answer == "0"
        assert differences(folder, undisturbed) == {}
        study += 1
    record_property("kills", dict(killed))
    print(f"{KILLS} kills in {study} studies: {dict(killed)}")


def test_a_study_killed_half_way_through_a_disk_operation_ends_as_if_undisturbed(
    live: Life, undisturbed: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
):
    killed, at = Counter[str](), 1
    while live(folder := tmp_path / f"study-{at}", at=at) == "killed":
        killed[where(folder)] += 1
        assert live(folder, at=0) == "0"
        assert differences(folder, undisturbed) == {}, at
        shutil.rmtree(folder)
        at += KILL_EVERY
    assert killed.total() > 1
    record_property("kills", dict(killed))
    print(f"killed at {killed.total()} disk operations: {dict(killed)}")

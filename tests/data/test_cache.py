"""The cache of prepared data: by content, complete or absent, and never a reason to fail."""

import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.data.cache import cache_folder, fetch, store
from deepen.data.preparation.in_memory import prepare_cached
from deepen.data.shards import open_dataset
from deepen.data.sources import open_data

TRAINING = ["the treaty was signed and the congress met " * 20, "peace with all nations prevails here " * 20]
HELD_OUT = ["a report of the state of the union " * 20]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prepare(folder: Path, vocab: int = 300, training: list[str] = TRAINING) -> list[str]:
    """Prepare the documents in a folder; returns what was done for it."""
    done: list[str] = []
    prepare_cached(folder, "talks", vocab, training, HELD_OUT, lambda what, share: done.append(what))
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_documents_are_prepared_once_and_every_folder_is_a_copy_of_its_own(tmp_path: Path):
    assert "tokenizing talks" in prepare(tmp_path / "first")
    assert prepare(tmp_path / "second") == []
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "second").iterdir())
    assert open_dataset(tmp_path / "second", 300).name == "talks"


def test_other_documents_or_another_vocabulary_are_prepared_anew(tmp_path: Path, own_cache: Path):
    for number, changes in enumerate(
        [{}, {"vocab": 290}, {"training": TRAINING[:1]}, {"training": TRAINING[::-1]}]
    ):
        assert prepare(tmp_path / str(number), **changes)  # type: ignore[arg-type]
    assert len([*own_cache.iterdir()]) == 4


@pytest.mark.parametrize("name", ["talks_train_000000.bin", "tokenizer.json", "dataset.json", "entry.json"])
def test_a_damaged_entry_is_replaced(tmp_path: Path, own_cache: Path, name: str):
    prepare(tmp_path / "first")
    (damaged,) = own_cache.glob(f"*/{name}")
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert prepare(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert damaged.read_bytes() == good and prepare(tmp_path / "third") == []


@pytest.mark.parametrize("place", ["file", "/proc/deepen"])
def test_where_nothing_can_be_cached_data_is_prepared_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPEN_CACHE", str(tmp_path / place))
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert prepare(folder)
        assert open_dataset(folder, 300).fingerprint


def test_a_user_without_a_home_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in a container with a user id that its system does not know."""

    def getpwuid(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    for name in ("DEEPEN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert cache_folder() is None
    assert prepare(tmp_path / "first") and prepare(tmp_path / "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_full_disk_leaves_no_part_of_an_entry(tmp_path: Path, own_cache: Path):
    """The system's limit on the size of files stands in for a full disk."""
    (tmp_path / "small").write_bytes(b"x")
    (tmp_path / "large").write_bytes(b"x" * 9000)
    code = (
        "import resource, signal; from pathlib import Path; from deepen.data.cache import store; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {2**40})); "
        f"store('entry', Path({str(tmp_path)!r}), ['small', 'large'])"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert [*own_cache.iterdir()] == [] and not fetch("entry", tmp_path / "out")


def test_several_processes_at_once_leave_one_complete_entry(tmp_path: Path, own_cache: Path):
    names = ["a", "b", "c"]
    code = "import sys; from pathlib import Path; from deepen.data.cache import store; sys.stdin.read(1); "
    processes = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        for name in names:
            (tmp_path / str(number) / name).write_bytes(f"{number}".encode() * 100_000)
        own = f"store('entry', Path({str(tmp_path / str(number))!r}), {names})"
        processes.append(subprocess.Popen([sys.executable, "-c", code + own], stdin=subprocess.PIPE))
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()  # all begin now
    assert [process.wait() for process in processes] == [0] * 4
    assert [path.name for path in own_cache.iterdir()] == ["entry"]
    assert fetch("entry", tmp_path / "out")
    assert contents(tmp_path / "out") in [contents(tmp_path / str(number)) for number in range(4)]


def test_an_entry_is_not_replaced(tmp_path: Path):
    for content in ("first", "second"):
        (tmp_path / "file").write_text(content)
        store("entry", tmp_path, ["file"])
    assert fetch("entry", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "first"


@pytest.mark.slow
def test_the_embedded_corpus_is_tokenized_once_and_its_preparation_is_reported(tmp_path: Path):
    identities, reports = [], []
    for run in ("first", "second"):
        reported: list[tuple[str, float | None]] = []
        identities.append(open_data("sotu", 512, tmp_path / run, lambda *each: reported.append(each)).identity)  # noqa: B023
        reports.append(reported)
    assert identities[0] == identities[1]
    shares = [share for what, share in reports[0] if what == "tokenizing sotu" and share is not None]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert {what for what, _ in reports[1]} == {"reading sotu", f"checking {tmp_path / 'second'}"}

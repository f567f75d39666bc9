"""Preparing a source: the same shards whatever the format, the workers and the interruptions."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import PreparationProgress, PreparationSettings
from deepen.data.shards import open_dataset
from deepen.data.tokenizers import load_tokenizer, make_tokenizer, train_bpe
from deepen.errors import InvalidValueError
from preparation_support import Prepared, contents, make_documents, write_jsonl

Prepare = Callable[..., Prepared]


def test_all_documents_are_in_the_shards_in_the_order_of_the_source(prepare_bytes: Prepare, documents: list[str]):
    prepared = prepare_bytes(documents, val_tokens=5_000)
    held_out = set(prepared.held_out)
    assert prepared.training == [document for document in documents if document not in held_out]
    assert prepared.held_out == [document for document in documents if document in held_out]
    counts = prepared.description["tokens"]
    assert 5_000 <= counts["validation"] < 5_000 + max(map(len, documents)) + 1
    assert sum(counts.values()) == sum(len(document) + 1 for document in documents)


def test_what_is_held_out_does_not_depend_on_the_order_of_the_source(prepare_bytes: Prepare, documents: list[str]):
    forward = prepare_bytes(documents, "forward", val_tokens=5_000)
    backward = prepare_bytes(documents[::-1], "backward", val_tokens=5_000)
    assert forward.held_out == backward.held_out[::-1]
    fewer = prepare_bytes(documents, "fewer", val_tokens=1)
    assert len(fewer.held_out) == 1 and fewer.held_out[0] in forward.held_out


def test_shards_have_the_size_that_is_asked_for_and_documents_continue_in_the_next(
    prepare_bytes: Prepare, documents: list[str], tmp_path: Path
):
    prepared = prepare_bytes(documents, shard_tokens=7_000)
    lengths = [len(shard) for shard in open_dataset(tmp_path / "out", 257).train]
    assert len(lengths) > 3 and set(lengths[:-1]) == {7_000} and 0 < lengths[-1] <= 7_000
    assert len(prepared.training) + len(prepared.held_out) == len(documents)


def test_an_interrupted_preparation_continues_and_gives_the_same_files(tmp_path: Path, documents: list[str]):
    """Interrupted after each block: each file is one."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        write_jsonl(source / f"{number}.jsonl", make_documents(20, seed=number))
    preparation = PreparationSettings(source=str(source), tokenizer="byte", val_tokens=2_000)
    prepare(preparation, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "whole")
    blocks_seen = []

    def interrupt(progress: PreparationProgress) -> None:
        blocks_seen.append(progress.documents)
        raise KeyboardInterrupt

    while not (tmp_path / "out").exists():
        try:
            prepare(preparation, tmp_path / "out", on_progress=interrupt, save_every=0.0)
        except KeyboardInterrupt:
            assert not (tmp_path / "out").exists()
        if len(blocks_seen) > 10:
            prepare(preparation, tmp_path / "out")
    assert blocks_seen[:4] == [20, 40, 60, 80]
    assert contents(tmp_path / "out") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "whole"]


def test_what_is_finished_is_not_prepared_again(tmp_path: Path, documents: list[str]):
    preparation = PreparationSettings(source=str(write_jsonl(tmp_path / "a.jsonl", documents)), tokenizer="byte")
    first = prepare(preparation, tmp_path / "out")
    reports: list[PreparationProgress] = []
    assert prepare(preparation, tmp_path / "out", on_progress=reports.append) == first and reports == []


@pytest.mark.parametrize("change", ["option", "source", "text", "tokenizer", "other"])
def test_a_folder_in_use_is_refused_and_stays_as_it_is(tmp_path: Path, documents: list[str], change: str):
    source, out = write_jsonl(tmp_path / "a.jsonl", documents), tmp_path / "out"
    make_tokenizer("byte").write(tmp_path)
    preparation = PreparationSettings(source=str(source), tokenizer=str(tmp_path / "tokenizer.json"))
    if change == "other":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    else:
        prepare(preparation, out)
    before = contents(out)
    if change == "source":
        write_jsonl(source, documents[:-1])
    if change == "text":  # as long as before
        write_jsonl(source, documents[::-1])
    if change == "tokenizer":
        train_bpe(documents, 300).write(tmp_path)
    if change == "option":
        preparation = replace(preparation, val_tokens=9_000)
    with pytest.raises(InvalidValueError, match=r"out .*is in use"):
        prepare(preparation, out)
    assert contents(out) == before


def test_an_unfinished_preparation_of_something_else_is_not_continued(tmp_path: Path, documents: list[str]):
    source = write_jsonl(tmp_path / "a.jsonl", documents)

    def interrupt(progress: PreparationProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(
            PreparationSettings(source=str(source), tokenizer="byte"),
            tmp_path / "out",
            on_progress=interrupt,
            save_every=0,
        )
    write_jsonl(source, documents[:-1])
    with pytest.raises(
        InvalidValueError, match=r"out\.unfinished is an unfinished preparation with another source"
    ):
        prepare(PreparationSettings(source=str(source), tokenizer="byte"), tmp_path / "out")


@pytest.mark.parametrize("name", [".hidden", "a training set", "é"])
def test_the_shards_of_a_folder_with_any_name_are_found(prepare_bytes: Prepare, documents: list[str], name: str):
    prepared = prepare_bytes(documents, name)
    assert len(prepared.training) + len(prepared.held_out) == len(documents)


def test_a_trained_tokenizer_has_the_vocabulary_that_is_asked_for_and_reads_back(
    tmp_path: Path, documents: list[str]
):
    source = write_jsonl(tmp_path / "a.jsonl", documents)
    content = prepare(PreparationSettings(source=str(source), tokenizer="train:300"), tmp_path / "out")
    dataset, tokenizer = open_dataset(tmp_path / "out", 300), load_tokenizer(tmp_path / "out")
    text = tokenizer.decode(dataset.tokens("train").window(0, dataset.count("train")).tolist())
    assert content["vocab"] == tokenizer.vocab == 300
    assert set(text.split("<|endoftext|>")) < {"", *documents}


def test_vocabularies_above_65536_give_shards_of_32_bits(tmp_path: Path):
    """Words are tokens: word n has the id n."""
    words = {f"w{n}": n for n in range(70_000)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    parts = {"normalizer": None, "post_processor": None, "decoder": None, "truncation": None, "padding": None}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": model,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps({**parts, **tokenizer}))
    documents = [" ".join(f"w{n}" for n in range(first, first + 50)) for first in range(66_000, 69_000, 50)]
    content = prepare(
        PreparationSettings(
            source=str(write_jsonl(tmp_path / "a.jsonl", documents)),
            tokenizer=str(tmp_path / "tokenizer.json"),
            separator="w69999",
        ),
        tmp_path / "out",
    )
    assert (content["dtype"], content["vocab"]) == ("uint32", 70_000)
    dataset = open_dataset(tmp_path / "out", 70_000)
    tokens = dataset.tokens("train").window(0, dataset.count("train")).tolist()
    assert (
        set(tokens) <= {69_999, *range(66_000, 69_000)} and tokens.count(69_999) == content["documents"]["train"]
    )


def test_the_licence_and_the_source_are_recorded(tmp_path: Path, documents: list[str], prepare_bytes: Prepare):
    source = tmp_path / "source"
    source.mkdir()
    (source / "LICENSE.txt").write_text("Do with it what you like: “really”.\n")
    lines = [json.dumps({"text": text, "license": "CC BY 4.0"}) for text in documents]
    lines.append(json.dumps({"text": "half a surrogate pair", "license": "\ud800"}))
    (source / "a.jsonl").write_text("\n".join(lines))
    description = prepare_bytes(source).description
    assert description["licence"] == "Do with it what you like: “really”.\n"
    assert description["licences"] == {"CC BY 4.0": len(documents), "\ud800": 1}
    assert json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8")) == description
    assert description["source"] == {
        "path": str(source),
        "files": 1,
        "bytes": (source / "a.jsonl").stat().st_size,
    }


def test_a_disk_that_will_be_full_is_noticed_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        write_jsonl(source / f"{number}.jsonl", make_documents(20, seed=number))
    needed = 2 * 2 * sum(path.stat().st_size for path in source.iterdir())  # twice, 16 bits a byte
    for free, warns in ((needed // 2, True), (needed, False)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        caplog.clear()
        prepare(PreparationSettings(source=str(source), tokenizer="byte"), tmp_path / f"out-{warns}")
        assert ("free some space" in caplog.text) == warns


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written_and_the_preparation_continues(
    tmp_path: Path, documents: list[str]
):
    """The system's limit on the size of files stands in for a full disk."""
    source = write_jsonl(tmp_path / "a.jsonl", documents)
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY)); "
        "from deepen.cli.entry import main; "
        f"raise SystemExit(main(['data', 'prepare', {str(source)!r}, '-o', 'out', '--tokenizer', 'byte']))"
    )
    for limit in (30_000, 200_000):
        command = [sys.executable, "-c", code.replace("{limit}", str(limit))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        if limit < 200_000:
            assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr
            assert {path.name for path in tmp_path.iterdir()} <= {"a.jsonl", "out.unfinished"}
    assert done.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "out"}


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_result(tmp_path: Path, prepare_bytes: Prepare):
    source = write_jsonl(tmp_path / "a.jsonl", make_documents(4_000))  # three blocks
    for workers in (1, 3):
        prepare_bytes(source, f"of-{workers}", workers, val_tokens=10_000)
    one, three = (list(contents(tmp_path / f"of-{workers}").values()) for workers in (1, 3))
    assert len(one) == 4 and one[1:] == three[1:]  # dataset.json has the names of the shards


def stop_ignoring_interrupts() -> None:
    """Undo what a shell does to a command that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_a_preparation_that_is_killed_leaves_no_process_and_continues(tmp_path: Path):
    source = write_jsonl(tmp_path / "a.jsonl", make_documents(60_000))
    command = [sys.executable, "-m", "deepen", "data", "prepare", str(source), "-o", str(tmp_path / "out")]
    command += ["--tokenizer", "byte", "--workers", "2", "--val-tokens", "20k"]
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=stop_ignoring_interrupts
        )
        spool = tmp_path / "out.unfinished" / "tokens"
        while process.poll() is None and not (spool.exists() and spool.stat().st_size):
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate()  # its workers have the pipe open too, so they have ended
        assert b"resource_tracker" not in output
        assert not (tmp_path / "out").exists()
    subprocess.run(command, check=True, capture_output=True)
    prepare(
        PreparationSettings(source=str(source), tokenizer="byte", val_tokens=20_000), tmp_path / "again" / "out"
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "again" / "out")

"""Standard streams that are closed, full, or in another encoding: they change nothing that a command does."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.study.results.results_file import load_results

QUICK = ["--help", "train --help", "recipes", "plan full --parts", "plan paper --json", "completion bash"]


def run(line: str, *, redirect: str = "", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a shell, with redirections."""
    shell = ["bash", "-c", f'"$0" -m deepen {line} {redirect}', sys.executable]
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(shell, capture_output=True, env=variables, check=False)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main(train_line(dataset, out).split()) == 0
    return out


def train_line(dataset: Dataset, out: Path) -> str:
    size = "--context 16 --batch-tokens 32 --steps 12 --rate constant"
    return f"train full {size} --data {dataset.folder} --out {out}"


@pytest.mark.parametrize("line", QUICK)
def test_a_reader_that_leaves_early_is_no_error(line: str):
    assert_nobody_needs_to_read(line)


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error_for_slower_commands(finished: Path, dataset: Dataset):
    for line in ("doctor", f"store check {finished}", f"report {finished}", train_line(dataset, finished)):
        assert_nobody_needs_to_read(line)


def assert_nobody_needs_to_read(line: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "deepen", *line.split()]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert done.returncode == 0 and b"error" not in done.stderr and b"Trace" not in done.stderr, done.stderr


@pytest.mark.parametrize("line", ["--version", "plan full", "completion zsh"])
def test_a_result_that_a_full_disk_did_not_take_is_reported(line: str):
    done = run(line, redirect=">/dev/full")
    reason = os.strerror(errno.ENOSPC)
    assert (done.returncode, done.stderr.decode()) == (1, f"error: standard output cannot be written: {reason}\n")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_change_no_exit_code(redirect: str):
    wrong = run("recipe", redirect=redirect)
    assert wrong.returncode == 2 and (b"command 'recipe'" in wrong.stderr) == ("2>" not in redirect)
    assert run("--version", redirect=redirect).returncode == 0


@pytest.mark.slow
def test_training_needs_no_stream_and_writes_nothing_of_them_into_its_files(dataset: Dataset, tmp_path: Path):
    """A closed descriptor is used again by the next file; what a library prints would end up in it."""
    out = tmp_path / "run"
    assert run(train_line(dataset, out), redirect="<&- >&- 2>&-").returncode == 0
    assert (out / "report" / "index.html").exists()
    (log,) = out.glob("segments/*/metrics.jsonl")
    assert len([json.loads(line) for line in log.read_text().splitlines()]) == 12


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_training_goes_on_when_nobody_reads_what_it_prints(jobs: int, noisy_data: Dataset, tmp_path: Path):
    """Progress, and a warning for each spike, from this process and from workers."""
    study = tmp_path / "mine.py"
    study.write_text(
        "from deepen import Arm, Constant, Evaluation, ModelConfig, Study\n"
        "model = ModelConfig(name='test', depth=12, width=8, heads=2, context=16, vocab=512)\n"
        "arms = (Arm(name='full', recipe='full'), Arm(name='small', recipe='small', options={'start_depth': 6}))\n"
        "evaluation = Evaluation(every_tokens=512, validation_tokens=64)\n"
        "study = Study(name='mine', model=model, tokens=48 * 32, batch_tokens=32, context=16, arms=arms,\n"
        f"    evaluation=evaluation, rate=Constant(peak=3e-2), data={str(noisy_data.folder)!r})\n"
    )
    line = f"study {study} --jobs {jobs} --out {tmp_path / 'run'}"
    done = run(line, redirect="2>&1 | head -1; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1, done.stdout
    assert all(arm.marks for arm in load_results(tmp_path / "run").arms)
    again = run(line, redirect="--json")
    assert again.returncode == 0 and len(json.loads(again.stdout)) > 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_an_encoding_lacks_are_replaced_by_similar_ones(encoding: str):
    done = run("plan two-phase", PYTHONIOENCODING=encoding)
    printed = done.stdout.decode(encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "##" in printed and "\\" not in printed  # the bars, and no escapes


@pytest.mark.slow
def test_every_command_prints_in_ascii(finished: Path, dataset: Dataset):
    folder = finished.rename(finished.with_name("größe"))
    for line in ("doctor", f"store check {folder}", f"report {folder}", train_line(dataset, folder)):
        done = run(line, PYTHONIOENCODING="ascii")
        assert done.returncode == 0 and b"Trace" not in done.stderr, (line, done.stderr)
        assert (done.stdout + done.stderr).isascii()
    folder.rename(finished)


def test_a_locale_without_utf_8_will_do():
    done = run("plan two-phase", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")

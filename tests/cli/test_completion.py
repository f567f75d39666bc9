"""Completion scripts: bash completes for real, zsh and fish where they are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests.catalog import COMMANDS
from deepen.cli.requests.study_options import STUDY_NAMES
from deepen.model.presets import PRESETS
from deepen.schedule.recipes import RECIPES


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script of a shell, in a file of its own."""
    assert main(["completion", request.param]) == 0
    path = tmp_path / f"deepen.{request.param}"
    path.write_text(capsys.readouterr().out)
    return path


def complete_in_bash(script: Path, line: str, folder: Path) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        "_shtab_deepen 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deepen ", {*COMMANDS, "help", "version"}),
        ("deepen --", {"--help", "--version"}),
        ("deepen st", {"study", "store"}),
        ("deepen store ", {"check", "prune"}),
        ("deepen store prune --k", {"--keep"}),
        ("deepen store prune somewhere --keep ", {"last", "trunk", "forks"}),
        ("deepen train ", {*RECIPES, "runs", "mine.py"}),
        ("deepen train two-phase --sta", {"--stages", "--start-depth"}),
        ("deepen train --start-depth 3 one-shot --opera", {"--operator"}),
        ("deepen train full --model na", {"nano", "nano-llama"}),
        ("deepen train full --model ", {*PRESETS, "runs", "mine.py"}),
        ("deepen train full --steps ", set()),
        ("deepen plan pap", {"paper"}),
        ("deepen plan paper --see", {"--seeds"}),
        ("deepen plan full --device h", {"h100", "h200"}),
        ("deepen completion ", {"bash", "zsh", "fish"}),
        ("deepen report ", {"runs"}),
        ("deepen study ", {*STUDY_NAMES, "runs", "mine.py"}),
        ("deepen train full --out ", {"runs"}),
        ("deepen plan full --bench m", {"mine.py"}),
        ("deepen nonsense ", {*COMMANDS, "help", "version"}),
        ("deepen help st", {"study", "store"}),
        ("deepen recipes --", {"--json", "--figures", "--help"}),
    ],
)
def test_bash_completes(script: Path, line: str, offered: set[str], tmp_path: Path):
    folder = tmp_path / "here"
    (folder / "runs").mkdir(parents=True)
    (folder / "mine.py").touch()
    assert complete_in_bash(script, line, folder) == offered


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"], indirect=True)
def test_a_script_has_no_syntax_error(script: Path):
    shell = script.suffix[1:]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["fish"], indirect=True)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deepen store ", {"check", "prune"}),
        ("deepen train full --model na", {"nano", "nano-llama"}),
        ("deepen train full --model=na", {"--model=nano", "--model=nano-llama"}),
        ("deepen train --start-depth 3 one-", {"one-shot"}),
        ("deepen study q", {"quickstart"}),
        ("deepen completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_fish_completes(script: Path, line: str, offered: set[str]):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    code = f"source {script}; complete -C '{line}'"
    done = subprocess.run(["fish", "-c", code], capture_output=True, text=True, check=True)
    assert {entry.split("\t")[0] for entry in done.stdout.splitlines()} == offered


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"], indirect=True)
def test_every_command_and_option_is_in_the_script(script: Path):
    text = script.read_text()
    for word in (*COMMANDS, "store", "prune", "keep", "start-depth", "moment-precision", "hellaswag", *PRESETS):
        assert word in text, word


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "tcsh"]) == 2
    assert "SHELL 'tcsh' is unknown" in capsys.readouterr().err

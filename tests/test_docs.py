"""The documentation is correct: its Python runs, its commands print what it shows, its links exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.compute.devices import DEVICES
from hugging_face_folders import write_llama
from preparation_support import make_documents, write_jsonl

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_on_a_page_runs(page: Path, tmp_path: Path):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


CONSOLE = re.compile(r"```console\n\$ deepen ([^\n]*)\n(.*?)```", re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_prints_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """With DEEPEN_RENEW=1 the page is updated instead.

    Beside docs/ there are a file of text, `books.jsonl`, and a checkpoint of four blocks, `small-llama`.
    """
    monkeypatch.chdir(tmp_path)
    Path("docs").symlink_to(ROOT / "docs")
    write_jsonl(Path("books.jsonl"), [*make_documents(300), "a page twice", "a page twice"])
    write_llama(Path("small-llama"), depth=4)

    def printed(found: re.Match[str]) -> str:
        assert main(shlex.split(found[1])) == 0
        lines = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
        return f"```console\n$ deepen {found[1]}\n{lines}\n```"

    text = page.read_text()
    renewed = CONSOLE.sub(printed, text)
    if os.environ.get("DEEPEN_RENEW"):
        page.write_text(renewed)
    else:
        assert text == renewed


def test_the_page_on_planning_has_every_device():
    page = (ROOT / "docs" / "planning.md").read_text()
    for name, device in DEVICES.items():
        row = f"| `{name}` | {device.peak_flops / 1e12:,g} | {device.memory_bytes / 1e9:g} | {device.source} |"
        assert row in page, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_architecture_page_has_every_package_and_only_existing_modules():
    page = (ROOT / "docs" / "architecture.md").read_text()
    source = ROOT / "src" / "deepen"
    packages = {path.parent.relative_to(source).as_posix() for path in source.rglob("*/__init__.py")}
    rows = dict(re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", page, re.M))
    assert set(rows) == packages
    for package, contents in rows.items():
        for name in re.findall(r"`(\w+\.py)`", contents):
            assert (source / package / name).exists(), f"{package}/{name}"


def test_the_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert "pip install -c constraints.txt . && deepen study quickstart" in readme
    assert "pip install -c constraints.txt '.[test]' && pytest" in readme


def test_every_dependency_has_a_reason_and_a_pin():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=]", line)[0] for line in project["dependencies"]]
    names += [re.split(r"[<>=]", line)[0] for extra in project["optional-dependencies"].values() for line in extra]
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    pins = (ROOT / "constraints.txt").read_text().lower()
    for name in names:
        assert f"`{name}`" in reasons, name
        if name.startswith("deepen["):
            continue
        assert f"\n{name}==" in pins.replace("_", "-"), name

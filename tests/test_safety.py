"""Strangers' files: no code in them is run, no path leads elsewhere, and their strings are inert on the page."""

import ast
import json
import pickle
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.entry import main
from deepen.data.errors import DataError
from deepen.data.shards import Dataset, open_dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.report import draw_report
from deepen.study.results.results_file import load_results
from deepen.train.checkpoint.state_check import StateError
from deepen.train.checkpoint.state_folder import load_state

SOURCE = Path(__file__).parent.parent / "src" / "deepen"
RESULTS: dict[str, Any] = json.loads(
    runpy.run_path(str(Path(__file__).parent / "fuzz" / "readers.py"))["SEEDS"]["results"]
)

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "tarfile",
    "zipfile",
}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.jit.load",
    "numpy.load",
    "np.load",
    "os.system",
    "yaml.load",
    "shutil.unpack_archive",
}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unpickles_evaluates_or_unpacks(path: Path):
    """Only multiprocessing pickles, between our own processes; no file is unpickled.

    The only file that is run is a study's .py whose path is given (`runpy` in cli/requests/user_file.py).
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            assert not {name.split(".")[0] for name in names} & FORBIDDEN_MODULES, ast.unparse(node)
            assert "runpy" not in names or path.name == "user_file.py"
        if isinstance(node, ast.Call):
            assert _dotted(node.func) not in FORBIDDEN_CALLS, ast.unparse(node)
            assert all(keyword.arg not in ("allow_pickle", "shell") for keyword in node.keywords), ast.unparse(
                node
            )


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def bomb(marker: Path) -> bytes:
    content = pickle.dumps(Bomb(marker))
    pickle.loads(content)
    assert marker.exists()  # it works
    marker.unlink()
    return content


@pytest.mark.parametrize("name", ["speeches_train_000000.bin", "tokenizer.json", "dataset.json"])
def test_a_pickle_in_place_of_data_is_refused_unrun(
    name: str, bomb: bytes, marker: Path, dataset: Dataset, tmp_path: Path
):
    for path in dataset.folder.iterdir():
        (tmp_path / path.name).write_bytes(bomb * 20 if path.name == name else path.read_bytes())
    with pytest.raises(DataError, match=re.escape(name)):
        open_dataset(tmp_path, 512)
    if name == "tokenizer.json":
        with pytest.raises(DataError, match="is not a tokenizer"):
            load_tokenizer(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "moments.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("vouched_for", [True, False])
def test_a_pickle_in_place_of_a_state_is_refused_unrun(
    name: str, vouched_for: bool, bomb: bytes, marker: Path, tmp_path: Path
):
    import hashlib

    from deepen.model.build import init_weights
    from deepen.model.presets import PRESETS
    from deepen.train.checkpoint.state_folder import save_state
    from deepen.train.state import TrainState

    folder = tmp_path / "state"
    save_state(TrainState(weights=init_weights(PRESETS["nano"], 1, seed=0), depth=1, seed=0), folder)
    (folder / name).write_bytes(bomb)
    if vouched_for and name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest[name] = {"bytes": len(bomb), "sha256": hashlib.sha256(bomb).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StateError):
        load_state(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        ("plan full --model nano --bench bench.json", "bench.json"),
        ("report .", "results.json"),
        ("study quickstart --hellaswag task.jsonl", "task.jsonl"),
        ("train full --data .", "x_train.bin"),
        ("study quickstart --out .", "study.json"),
        ("study study.py", "study.py"),
    ],
)
def test_a_pickle_in_place_of_a_file_that_a_command_reads_is_refused_unrun(
    request_line: str,
    name: str,
    bomb: bytes,
    marker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(bomb * 20)
    Path("x_val.bin").write_bytes(bomb * 20)
    assert main(request_line.split()) == 2
    assert name.split("_")[0] in capsys.readouterr().err and not marker.exists()


def test_a_python_file_is_run_only_if_its_path_is_given(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "study", "deepen", "sitecustomize", "given"):
        Path(f"{name}.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()")
    for request in ("study given", "study studyy", "plan given", "report .", "train full --data ."):
        assert main(request.split()) == 2
        assert not marker.exists()
    assert main(["study", "given.py"]) == 2 and marker.exists()


def test_a_study_whose_name_is_a_path_does_not_write_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for name in ("../../outside", "/tmp/outside-deepen", "a/b", ".", "..", "a" * 256):
        Path("mine.py").write_text(
            "from dataclasses import replace\nfrom deepen.study.define.presets import STUDIES\n"
            f"study = replace(STUDIES['quickstart'](), name={name!r})"
        )
        assert main(["study", "mine.py"]) == 2
        assert "cannot name a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["mine.py"]


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    "<!-- <script>",
    "]]></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% for x in y %}",
    "../../outside",
)


def _with_every_string(value: Any, hostile: str) -> Any:
    """Replace every string, except those that identify marks."""
    if isinstance(value, dict):
        kept = ("accounting", "outcome", "recipe")
        return {key: v if key in kept else _with_every_string(v, hostile) for key, v in value.items()}
    if isinstance(value, list):
        return [_with_every_string(each, hostile) for each in value]
    return hostile if isinstance(value, str) else value


class Live(HTMLParser):
    """The active parts of a page: elements, attributes and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "data")]


def live(results: dict[str, Any], folder: Path) -> Live:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    page = Live()
    page.feed(draw_report(load_results(folder), folder).read_text())
    page.close()
    return page


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Live:
    return live(_with_every_string(RESULTS, "harmless"), tmp_path_factory.mktemp("page") / "study")


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_page_of_hostile_strings_has_the_elements_of_a_harmless_one(
    hostile: str, harmless: Live, tmp_path: Path
):
    page = live(_with_every_string(RESULTS, hostile), tmp_path / "study")
    assert page.tags == harmless.tags
    own = re.compile(r"figures/[a-z0-9-]+\.(png|svg)|[a-z-]+\.(csv|tex)|\.\./results\.json|#word-[a-z-]+")
    assert all(map(own.fullmatch, page.addresses))
    assert {path.name for path in tmp_path.iterdir()} == {"study"}
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"results.json", "report"}


@pytest.mark.slow
def test_the_charts_on_the_page_are_json_that_no_string_ends(tmp_path: Path):
    hostile = "</script><script>alert(1)</script><!--"
    live(_with_every_string(RESULTS, hostile), tmp_path / "study")
    page = (tmp_path / "study" / "report" / "index.html").read_text()
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    assert found and "<" not in found[1]
    names = {trace["name"] for trace in json.loads(found[1])["loss"]["traces"]}
    assert all("<" not in name for name in names)  # plotly reads tags in names

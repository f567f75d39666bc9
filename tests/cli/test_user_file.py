"""Python files of a user: recipes and studies in them, what they import, what is wrong with them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests import plan, study, train
from deepen.cli.requests.parser import RequestError
from deepen.cli.requests.plan import RecipePlanRequest
from deepen.cli.requests.user_file import read_recipe, read_study
from deepen.schedule.recipe import _registered

FILE = '''
import deepen
from deepen import Growth, ModelConfig, Phase, Schedule
from deepen.schedule.recipe import recipe
from shares_beside_mine import SHARE

TABLE = {"a": 1}

def late(model, tokens: int, *, grow_at=SHARE, operator: str = "random", copies: bool = True, sizes=()):
    """Grow late.

    Args:
        grow_at: share of the tokens before growth.
    """
    import shares_beside_mine  # when it is called

    before = tokens * grow_at
    shallow = Phase(depth=3, tokens=before, label="shallow")
    deep = Phase(depth=model.depth, tokens=tokens - before, label="deep")
    growth = Growth(operator=operator, moments="copy" if copies else "reset")
    return Schedule(phases=(shallow, deep), growth=growth)

@recipe("twin-of-late", is_control=True)
def twin(model, tokens):
    return late(model, tokens)

def broken(model, tokens):
    return late(model, tokens, grow_at=1 / 0)

def clashing(model, tokens, *, lr=0.1, seed=0):
    return late(model, tokens)

study = deepen.Study(
    name="mine", model=deepen.PRESETS["nano"], tokens=51_200, batch_tokens=512, context=64,
    arms=(
        deepen.Arm(name="full", recipe="full"),
        deepen.Arm(name="mine", recipe=late, rate=deepen.Cosine(peak=0.02, warmup_tokens=1024)),
    ),
    evaluation=deepen.Evaluation(every_tokens=1024, validation_tokens=1024),
)
'''

SMALL = ["--model", "nano", "--steps", "50"]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file beside the module that it imports."""
    folder = tmp_path / "my files"
    folder.mkdir()
    (folder / "shares_beside_mine.py").write_text("SHARE = 0.75\n")
    (folder / "mine.py").write_text(FILE)
    (tmp_path / "folder.py").mkdir()
    monkeypatch.chdir(tmp_path)
    yield Path("my files") / "mine.py"
    sys.modules.pop("shares_beside_mine", None)
    _registered.pop("twin-of-late", None)


def test_a_recipe_in_a_file_is_planned_with_its_own_options(mine: Path):
    request = plan.parse(["--grow-at", "0.5", f"{mine}:late", "--copies", "false", "--sizes", "[1, 2]", *SMALL])
    assert isinstance(request, RecipePlanRequest)
    assert request.plan.recipe_name == "late" and request.plan.options == {
        "grow_at": 0.5,
        "copies": False,
        "sizes": [1, 2],
    }
    assert request.plan.run(25_600).schedule(50).growth.moments == "reset"


def test_a_recipe_in_a_file_is_trained_under_its_name(mine: Path):
    request = train.parse([f"{mine}:late", "--tokens", "40k", "--operator", "stack"])
    [arm] = request.study.arms
    assert arm.name == "late" and arm.options == {"operator": "stack"} and callable(arm.recipe)
    assert request.folder.name.startswith("late-operator-stack-nano")
    [arm] = train.parse([f"{mine}:twin"]).study.arms
    assert arm.recipe == "twin-of-late"


@pytest.mark.parametrize("text", ["a/../../b", "a" * 256])
def test_an_option_that_cannot_be_a_part_of_the_folders_name_needs_out(text: str, mine: Path, tmp_path: Path):
    words = [f"{mine}:late", "--tokens", "40k", "--sizes", text]
    with pytest.raises(RequestError, match="cannot name a folder in deepen-runs/: name one with --out"):
        train.parse(words)
    assert train.parse([*words, "--out", str(tmp_path / "run")]).folder == tmp_path / "run"


def test_another_recipe_can_be_the_measure_of_a_plan(mine: Path):
    request = plan.parse(["full", "--against", f"{mine}:late", "--model", "nano"])
    assert isinstance(request, RecipePlanRequest) and request.plan.against_name == "late"


def test_a_study_in_a_file_has_its_own_recipe_and_rate(mine: Path):
    request = study.parse([str(mine), "--scale", "2", "--lr", "0.004"])
    full, own = request.study.arms
    assert request.study.rate_for(full).peak == 0.004
    assert own.rate is not None and (own.rate.peak, own.rate.warmup_tokens) == (0.02, 2048)


def test_what_a_file_prints_is_not_part_of_the_result(mine: Path, capsys: pytest.CaptureFixture[str]):
    printing = FILE.replace("    before = ", "    print('called')\n    before = ")
    mine.write_text(f"print('loading')\n{printing}")
    assert main(["plan", str(mine), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["study"] == "mine"
    assert "loading\n" in printed.err and "called\n" in printed.err


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("{mine}:lat", "has no function 'lat' (did you mean 'late'?): it has late, twin, broken, clashing"),
        ("{mine}:", "name a function in it, my files/mine.py:FUNCTION; it has late, "),
        ("{mine}", "name a function in it"),
        ("{mine}:TABLE", "mine.py:TABLE is not a function: it is a value of type dict"),
        ("{mine}:Schedule", "recipe Schedule failed: TypeError: "),
        ("nowhere.py:late", "recipe file nowhere.py does not exist"),
        ("folder.py:late", "recipe file folder.py is not a file"),
        ("{mine}:broken", "recipe broken failed: ZeroDivisionError: division by zero (mine.py, line 28)"),
        ("{mine}:clashing", "recipe clashing: --seed is an option of deepen train: rename the argument"),
    ],
)
def test_what_is_wrong_with_a_recipe_in_a_file_is_said_in_one_line(
    word: str, problem: str, mine: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", word.format(mine=mine), "--tokens", "4096"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(problem in line for line in lines), lines
    assert all(line.startswith("error: ") for line in lines)
    assert not Path("deepen-runs").exists()


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this' (bad.py, line 1)"),
        ("def f(:", "SyntaxError: invalid syntax (bad.py, line 1)"),
        ("\n\nraise SystemExit('stop')", "SystemExit: stop (bad.py, line 3)"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(code: str, problem: str, tmp_path: Path):
    (tmp_path / "bad.py").write_text(code)
    for read in (lambda: read_study(tmp_path / "bad.py"), lambda: read_recipe(f"{tmp_path}/bad.py:f")):
        with pytest.raises(ValueError) as wrong:
            read()
        assert str(wrong.value).endswith(problem) and "\n" not in str(wrong.value)


def test_help_shows_the_options_of_a_recipe_in_a_file(mine: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", f"{mine}:late", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Recipe late:" in text and "share of the tokens before growth (default: 0.75)" in text
    assert "--copies true|false" in text and "--start-depth N" not in text and "--sizes VALUE" in text


def test_a_wrong_request_lists_all_problems_of_both(mine: Path):
    with pytest.raises(RequestError) as wrong:
        train.parse([f"{mine}:late", "--grow-at", "x", "--sed", "3"])
    assert [problem.split()[0] for problem in wrong.value.problems] == ["--grow-at", "option"]

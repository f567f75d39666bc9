import json
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests.catalog import COMMANDS
from deepen.data.shards import Dataset
from deepen.schedule.recipes import RECIPES
from deepen.study.store.segment_folder import SegmentFolder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, "--help"]) == 0
    assert f"deepen {command}" in capsys.readouterr().out


def test_recipes_are_all_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["recipes", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert set(listing["recipes"]) == set(RECIPES)
    for entry in listing["recipes"].values():
        assert entry.keys() == {"summary", "promise", "source", "bars", "options"}
        assert all(len(bars) == 16 for bars in entry["bars"].values())
    assert listing["promises of operators"].keys() == listing["operators"].keys()
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*RECIPES, "interleave", "spread", "new-blocks-head", "copy"))


def test_doctor_finds_what_every_command_needs(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--json"]) == 0
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["ok"] and findings["embedded corpus"]["ok"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["full"],
        ["two-phase", "--stages", "8", "--scope", "new-blocks-embeddings", "--partition", "back"],
        ["two-phase", "--preset", "paper-as-released", "--stages", "8", "--rate", "constant"],
        ["staged", "--stages", "2", "--operator", "stack", "--moments", "copy"],
        ["one-shot", "--start-depth", "0", "--operator", "random", "--grow-at", "0.3"],
        ["one-shot", "--start-depth", "4", "--rate", "cosine"],
        ["small", "--start-depth", "3"],
        ["gradual", "--depths", "3,6,12", "--grow-at", "0.3,0.6", "--noise", "0.01"],
        ["middle", "--variant", "lidas", "--residual-scale", "0.5"],
        ["loop-untie", "--loops", "3", "--optimizer", "muon"],
        ["one-shot", "--layout", "0-5,3-5,3-5", "--operator", "copy-zero"],
    ],
    ids=" ".join,
)
def test_train_ends_with_a_report_and_a_state_at_the_budget(
    arguments: list[str], dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    common = ["--steps", "20", "--batch-tokens", "64", "--context", "16", "--data", str(dataset.folder)]
    assert main(["train", *arguments, *common, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "validation loss" in printed and (out / "report" / "index.html").exists()
    results = json.loads((out / "results.json").read_text())
    arm = results["arms"][0]
    assert (arm["recipe"], arm["seed"]) == (arguments[0], 3)
    assert arm["marks"][0]["flops"] == pytest.approx(arm["marks"][0]["budget_flops"], rel=0.04)
    state = SegmentFolder(out / "segments" / arm["segments"][-1]).state()
    assert state.progress.tokens == arm["marks"][0]["tokens"]
    released = "paper-as-released" in arguments
    assert state.depth == {"small": 3}.get(arguments[0], 8 if released else 12)


@pytest.mark.slow
def test_the_paper_runs_scaled_down_on_prepared_shards_with_hellaswag(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    items = [
        {"ctx": "The Congress", "endings": ["met.", "of of", "ran away", "sea"], "label": k % 4} for k in range(8)
    ]
    task = tmp_path / "hellaswag.jsonl"
    task.write_text("".join(json.dumps(item) + "\n" for item in items))
    out = tmp_path / "paper"
    for preset, rate in (("paper-as-written", "wsd"), ("paper-as-released", "constant")):
        arguments = ["study", "paper", "--scale", "6e-6", "--model", "nano", "--preset", preset, "--rate", rate]
        arguments += [
            "--data",
            str(dataset.folder),
            "--hellaswag",
            str(task),
            "--out",
            str(out / preset),
            "--jobs",
            "1",
        ]
        assert main(arguments) == 0
        results = json.loads((out / preset / "results.json").read_text())
        arms = {f"two-phase S={s}" for s in (4, 8, 12)}
        arms |= {"staged S=4"} if preset == "paper-as-released" else set()
        assert {verdict["arm"] for verdict in results["verdicts"]} == arms
        assert all(mark["annealed"] == (rate == "wsd") for arm in results["arms"] for mark in arm["marks"])
        assert all(mark["tasks"]["hellaswag"]["n"] == 8 for arm in results["arms"] for mark in arm["marks"])
        assert all(len(arm["tasks"]) > 3 for arm in results["arms"])
        assert (out / preset / "report" / "figures" / "hellaswag.png").exists()
    assert "One seed: there is no interval" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(dataset: Dataset, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "full", "--steps", "5", "--data", str(dataset.folder), "--out", "/proc/deepen"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --out /proc/deepen")


@pytest.mark.slow
def test_a_disk_that_fills_while_training_fails_with_one_line_and_loses_nothing(dataset: Dataset, tmp_path: Path):
    """The system's limit on the size of files, set when training has begun, makes the write of a state fail."""
    out = tmp_path / "run"
    arguments = [
        "train",
        "full",
        "--steps",
        "40",
        "--batch-tokens",
        "64",
        "--data",
        str(dataset.folder),
        "--out",
        str(out),
    ]
    code = (
        "import resource, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from deepen.cli.entry import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def fill():\n"
        f"    while not Path({str(out / 'study.json')!r}).exists(): pass\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "threading.Thread(target=fill, daemon=True).start()\n"
        f"sys.exit(main({arguments!r}))"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr, failed.stderr
    assert (
        sum(line.startswith("error: ") for line in failed.stderr.splitlines()) == 1 and str(out) in failed.stderr
    )
    assert main(arguments) == 0


@pytest.mark.slow
def test_a_precision_left_to_the_machine_is_measured_once_and_then_kept(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["train", "full", "--steps", "3", "--batch-tokens", "64", "--data", str(dataset.folder)]
    out = tmp_path / "run"
    assert main([*arguments, "--precision", "auto", "--out", str(out)]) == 0
    printed = capsys.readouterr().err
    chosen = json.loads((out / "study.json").read_text())["study"]["settings"]["precision"]
    assert chosen in ("fp32", "bf16") and f"precision {chosen}: " in printed
    assert main([*arguments, "--precision", "auto", "--out", str(out)]) == 0
    printed = capsys.readouterr().err
    assert "precision" not in printed and "nothing to train" in printed
    other = {"fp32": "bf16", "bf16": "fp32"}[chosen]
    assert main([*arguments, "--precision", other, "--out", str(out)]) == 2
    assert f"settings.precision was {chosen}" in capsys.readouterr().err


def test_compiling_on_a_cpu_without_a_compiler_is_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "run"
    assert main(["train", "full", "--steps", "2", "--compile", "yes", "--out", str(out)]) == 2
    assert "--compile yes needs a C++ compiler" in capsys.readouterr().err and not out.exists()


@pytest.mark.slow
def test_a_recipe_is_compared_with_its_baseline_at_equal_tokens_and_equal_compute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "pilot"
    options = ["--tokens", "16384", "--batch-tokens", "512", "--out", str(out)]
    assert main(["train", "one-shot", "--against", "full", *options]) == 0
    assert "at equal tokens" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["baseline"] == "full" and {arm["name"] for arm in results["arms"]} == {"full", "one-shot"}
    by_accounting = {verdict["accounting"]: verdict for verdict in results["verdicts"]}
    assert by_accounting.keys() == {"flops", "tokens"}
    assert by_accounting["tokens"]["tokens"] == 16384 < by_accounting["flops"]["tokens"]
    assert by_accounting["tokens"]["flops"] < by_accounting["flops"]["flops"]

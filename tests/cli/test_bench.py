import json
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.compute.bench_file import read_timing
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import TrainedParts

SMALL = ("bench", "--model", "nano", "--steps", "2", "--batch-tokens", "128")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small bench wrote."""
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    assert main([*SMALL, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_the_json_is_what_is_written_and_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "bench.json"
    assert main([*SMALL, "--json", "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    written = json.loads(out.read_text())
    assert len(written.pop("sha256")) == 64 and result == written  # the file carries a seal
    timing = read_timing(out)
    timing.check(PRESETS["nano"], 64, 128)
    assert (timing.context, timing.batch_tokens, timing.precision) == (64, 128, "fp32")
    assert result["threads"] == 1 and result["torch"]


@pytest.mark.slow
def test_a_bench_of_muon_is_priced_and_planned_as_muon(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "bench.json"
    assert main([*SMALL, "--optimizer", "muon", "--json", "--out", str(out)]) == 0
    full = json.loads(capsys.readouterr().out)["phases"][0]
    assert main(["plan", "full", "--model", "nano", "--bench", str(out), "--json"]) == 0
    [phase] = json.loads(capsys.readouterr().out)["phases"]
    assert phase["optimizer_products_flops"] > 0
    assert full["flops_per_token"] == round(phase["flops_per_step"] / phase["batch_tokens"])


@pytest.mark.slow
def test_the_table_shows_what_was_found_and_how_to_use_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "b.json"
    assert main(["bench", "--depth", "1", "--steps", "1", "--batch-tokens", "64", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "tokens/s" in printed and "measured ÷ ledger" in printed and "GFLOP/s" in printed
    assert f"--bench {out}" in printed and read_timing(out).model.depth == 1
    assert main(["bench", "--depth", "1", "--steps", "1", "--batch-tokens", "64", "--out", str(out)]) == 0


@pytest.mark.slow
def test_a_trainer_that_fails_costs_neither_the_figures_nor_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The plain loop is compiled, and here is no compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "bench.json"
    small = ["bench", "--depth", "1", "--steps", "1", "--batch-tokens", "64"]
    assert main([*small, "--against", "loop", "--out", str(out)]) == 0
    printed, written = capsys.readouterr().out, json.loads(out.read_text())
    assert printed.index("measured ÷ ledger") < printed.index("loop was not measured: ")
    assert [pace["name"] for pace in written["against"]] == ["deepen"]
    assert list(written["against_failed"]) == ["loop"] and read_timing(out).model.depth == 1


def test_a_wrong_request_does_not_wait_for_torch():
    code = (
        "import sys; from deepen.cli.entry import main; main(['bench', '--steps', '0']); "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_plan_reads_the_bench_and_has_a_mark_of_equal_seconds(written: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "two-phase", "--model", "nano", "--bench", str(written), "--json"]) == 0
    result, timing = json.loads(capsys.readouterr().out), read_timing(written)
    hours = result["baseline"]["tokens"] * timing.seconds_per_token(TrainedParts.all(12)) / 3600
    assert result["time"]["source"] == "deepen bench" and result["time"]["baseline"]["hours"] == pytest.approx(
        hours
    )
    assert result["marks"]["seconds"]["seconds"] == pytest.approx(3600 * hours, rel=1e-3)
    assert result["phases"][0]["batch_tokens"] == 128
    assert (
        main(["plan", "full", "--model", "nano", "--bench", str(written), "--price-per-hour", "2", "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["time"]["cost"] == pytest.approx(2 * result["time"]["hours"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("--model micro", "--bench measured nano"),
        ("--model nano --batch-tokens 4096", "with 4,096"),
        ("--model nano --count 2", "--count and --bench"),
        ("--model nano --context-ramp 0:32,0.5:64", "--context-ramp and --bench"),
        ("--model nano --mfu 0.5", "--mfu and --bench"),
        ("--model nano --precision bf16", "its figures are of fp32"),
        ("--model nano --optimizer muon", "its figures are of adamw"),
    ],
)
def test_a_bench_is_of_what_it_measured(wrong: str, words: str, written: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "full", *wrong.split(), "--bench", str(written)]) == 2
    assert words in capsys.readouterr().err

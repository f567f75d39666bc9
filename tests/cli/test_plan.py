import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepen import durable
from deepen.cli.entry import main
from deepen.cli.requests import train
from deepen.compute.devices import DEVICES
from deepen.study.compile.study_plan import plan_study
from deepen.study.define.presets import quickstart
from deepen.study.judge.power import expected_noise


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["plan", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and all(line.startswith("error: ") for line in printed.err.splitlines())
    return printed.err.splitlines()


@pytest.mark.parametrize(
    ("stages", "total", "exact_share"), [(4, 14_688, 0.398), (8, 15_469, 0.455), (12, 15_729, 0.487)]
)
def test_the_papers_marks_and_the_exact_ones(
    stages: int, total: int, exact_share: float, capsys: pytest.CaptureFixture[str]
):
    result = plan(capsys, "two-phase", "--stages", str(stages), "--model", "gpt2-124m", "--vocab", "50304")
    assert result["baseline"]["steps"] == 10_000
    assert result["marks"]["paper"]["total_steps"] == total
    assert round(result["marks"]["flops"]["continual_share"], 3) == exact_share
    assert result["staged_share"]["flops"] + result["marks"]["flops"]["continual_share"] == pytest.approx(
        1, abs=1e-3
    )
    assert result["total"]["flops"] == pytest.approx(result["baseline"]["flops"], rel=1e-4)


def test_the_plan_has_its_keys_and_adds_up(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "two-phase", "--stages", "4")
    model = {key: result["model"][key] for key in ("name", "depth", "parameters", "parameters_non_embedding")}
    assert model == {
        "name": "gpt2-124m",
        "depth": 12,
        "parameters": 124_439_808,
        "parameters_non_embedding": 85_056_000,
    }
    assert len(result["phases"]) == 9 == len(result["memory"]["phases"])
    assert sum(phase["flops"] for phase in result["phases"]) == result["total"]["flops"]
    assert sum(phase["tokens"] for phase in result["phases"]) == result["total"]["tokens"]
    assert all(phase["flops"] == phase["tokens"] * phase["flops_per_token"] for phase in result["phases"])
    assert (
        result["phases"][0]["trainable_parameters"] < result["phases"][-1]["trainable_parameters"] == 124_439_808
    )
    for phase in result["phases"]:
        by_direction = ("forward", "recompute", "activation_backward", "weight_backward")
        assert phase["flops_per_token"] == sum(part[key] for part in phase["parts"] for key in by_direction)
    assert result["memory"]["peak"] == max(phase["peak"] for phase in result["memory"]["phases"])
    assert result["time"] is None
    assert result["attention_flops"] == "dense"


def test_the_plan_of_muon_has_the_matrix_products_of_its_steps_in_every_price(capsys: pytest.CaptureFixture[str]):
    options = ("--model", "micro", "--grow-at", "0.5")
    muon, adamw = (plan(capsys, "one-shot", *options, "--optimizer", name) for name in ("muon", "adamw"))
    for phase in muon["phases"]:
        assert phase["flops"] == phase["steps"] * phase["flops_per_step"]
        products = phase["flops"] - phase["tokens"] * phase["flops_per_token"]
        assert products == phase["optimizer_products_flops"] > 0
    total = muon["total"]
    assert total["optimizer_products_flops"] == sum(phase["optimizer_products_flops"] for phase in muon["phases"])
    assert muon["baseline"]["flops"] > adamw["baseline"]["flops"]
    assert total["flops"] == pytest.approx(muon["baseline"]["flops"], rel=1e-4)
    moments = [[phase["moments"] for phase in result["memory"]["phases"]] for result in (muon, adamw)]
    assert all(half < whole for half, whole in zip(*moments, strict=True))
    assert adamw["total"]["optimizer_products_flops"] == 0
    assert "--optimizer muon" in muon["pilot"]["command"]


def test_time_and_cost_are_flops_over_the_stated_share_of_the_peak(capsys: pytest.CaptureFixture[str]):
    options = ("--device", "h100", "--count", "8", "--mfu", "0.4", "--price-per-hour", "2.5")
    result = plan(capsys, "two-phase", *options)
    hours = result["total"]["flops"] / (8 * DEVICES["h100"].peak_flops * 0.4) / 3600
    assert result["time"]["hours"] == pytest.approx(hours)
    assert result["time"]["cost"] == pytest.approx(hours * 8 * 2.5)
    assert sum(phase["hours"] for phase in result["time"]["phases"]) == pytest.approx(hours)
    assert result["time"]["baseline"]["hours"] == pytest.approx(hours, rel=1e-3)
    assert result["memory"]["precision"] == "bf16" and result["memory"]["fits"]


def test_the_cpu_is_measured_where_it_is_the_device(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "full", "--model", "nano", "--device", "cpu")
    assert result["time"]["peak_flops"] > 0 and result["time"]["hours"] > 0
    assert "measured" in result["time"]["source"]


@pytest.mark.parametrize(
    "budget",
    [
        ("--tokens", "524288000"),
        ("--steps", "1000"),
        ("--flops", "4.4797e17"),
        ("--tokens-per-parameter", "6.164"),
        ("--hours", "0.3145", "--device", "h100"),
    ],
)
def test_a_budget_is_given_in_any_unit(budget: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert plan(capsys, "full", *budget)["baseline"]["steps"] == 1000


def test_a_model_of_any_size_is_planned(capsys: pytest.CaptureFixture[str]):
    sizes = "--family llama --depth 16 --width 2048 --heads 32 --kv-heads 8 --mlp 8192 --vocab 128256 --head tied"
    custom = plan(capsys, "full", *sizes.split(), "--context", "8192", "--batch-tokens", "1048576")
    preset = plan(capsys, "full", "--model", "llama-1b")
    assert custom["model"]["name"] == "custom" and preset["model"]["name"] == "llama-1b"
    assert custom["model"]["parameters"] == preset["model"]["parameters"] == 1_235_814_400
    assert custom["total"] == preset["total"] and custom["memory"] == preset["memory"]


def test_a_plan_states_what_sharded_devices_send(capsys: pytest.CaptureFixture[str]):
    sharded = ["full", "--model", "llama-1b", "--device", "h100", "--count", "8", "--shard"]
    sharded += ["--micro-batch-tokens", "8192"]
    tables, peaks = {}, {}
    for when in ("", "once", "each"):
        options = ["--reduce-gradients", when] if when else []
        peaks[when] = plan(capsys, *sharded, *options)["memory"]["peak"]
        assert main(["plan", *sharded, *options]) == 0
        tables[when] = capsys.readouterr().out
    assert "sharded, blocks gathered in bf16, gradients sent once in a step, bf16" in tables["once"]
    assert "sharded, blocks gathered in bf16, gradients sent in each micro-batch, bf16" in tables["each"]
    assert tables[""] == tables["once"] and peaks[""] == peaks["once"] > peaks["each"]


def test_recomputation_is_priced_and_needs_less_memory(capsys: pytest.CaptureFixture[str]):
    stored = plan(capsys, "full", "--model", "llama-160m")
    again = plan(capsys, "full", "--model", "llama-160m", "--activation-checkpointing")
    assert stored["total"]["flops"] < again["total"]["flops"] < 4 / 3 * stored["total"]["flops"]
    assert again["memory"]["peak"] < stored["memory"]["peak"]


def test_causal_exact_counts_less(capsys: pytest.CaptureFixture[str]):
    dense, exact = plan(capsys, "full"), plan(capsys, "full", "--attention", "causal-exact")
    assert exact["total"]["flops"] == dense["total"]["flops_causal_exact"] < dense["total"]["flops"]
    assert exact["attention_flops"] == "causal-exact"


MONEY = (
    *("one-shot", "--model", "llama-1b", "--tokens", "26B"),
    *("--device", "h100", "--count", "8", "--price-per-hour", "2.5"),
)


def test_what_growing_saves_at_equal_tokens_is_answered_first(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, *MONEY)
    equal, baseline = result["equal_tokens"], result["time"]["baseline"]
    assert equal["tokens"] == result["baseline"]["tokens"] and equal["steps"] == result["baseline"]["steps"]
    assert (
        equal["flops"]
        == result["marks"]["tokens"]["flops"]
        == pytest.approx(0.787 * result["baseline"]["flops"], rel=1e-3)
    )
    assert equal["saved"]["hours"] == pytest.approx(baseline["hours"] - equal["hours"])
    assert equal["saved"]["cost"] == pytest.approx(baseline["cost"] * (1 - equal["flops_share"]))
    assert main(["plan", *MONEY]) == 0
    saving, estimate, question, command, _, equal_compute, *_ = capsys.readouterr().out.splitlines()[3:]
    assert "at equal tokens, 26B, one-shot costs 78.7 % of full" in saving and "saved: 5.17 h and 103.38" in saving
    assert "estimate" in estimate and "not known" in question and "two CPU cores" in question
    assert command.strip() == result["pilot"]["command"]
    assert (
        equal_compute
        == "At equal compute one-shot trains 31,505 steps where full trains 24,796: 27.1 % more tokens"
    )


@pytest.mark.parametrize(
    "line",
    [
        " ".join(MONEY),
        "two-phase --stages 12 --partition spread --scope all",
        "two-phase --preset paper-as-released --stages 8 --vocab 50304",
        "one-shot --decay-in compute --decay-share 0.3 --rewarm all --rewarm-tokens 100M --warmup-tokens 90M",
        "one-shot --model llama-70b --start-depth 40 --operator stack --moments copy",
        "one-shot --start-depth 3 --depth 9 --against small",
        "gradual --depths 3,6,12 --grow-at 0.3,0.6",
        "two-phase --round-down --against staged",
    ],
)
def test_the_pilot_is_a_right_request_of_the_same_shape(line: str, capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, *line.split())
    deepen, command, *words = shlex.split(result["pilot"]["command"])
    request = train.parse(words)
    baseline, arm = request.study.arms
    assert (deepen, command) == ("deepen", "train") and request.study.model.depth == result["model"]["depth"]
    scale = request.study.tokens / result["baseline"]["tokens"]
    expected = {
        name: pytest.approx(value * scale, rel=0.1) if name.endswith("_tokens") else value
        for name, value in result["options"].items()
    }
    assert json.loads(json.dumps(dict(arm.options))) == expected
    assert dict(baseline.options) == result["against_options"]
    assert request.study.baseline == result["against"] and "tokens" in request.study.accountings
    ratio = request.study.tokens / request.study.model.parameters_non_embedding
    assert 0.9 * 20 <= ratio <= 1.1 * 100
    flops = sum(mark.flops for mark in plan_study(request.study).marks) * len(request.study.seeds)
    assert result["pilot"]["flops"] == flops < 1e15


def test_the_baseline_is_named_with_its_options_as_a_command_line_has_them(capsys: pytest.CaptureFixture[str]):
    line = "two-phase --model nano --stages 3 --round-down --against staged"
    assert plan(capsys, *line.split())["against_run"] == "staged --stages 3 --round-down"
    assert main(["plan", *line.split()]) == 0
    assert "baseline  staged --stages 3 --round-down: 10,000 steps" in capsys.readouterr().out


def test_full_training_of_some_parts_is_told_from_the_baseline(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "full", "--train", "blocks:8-11,head")
    assert (result["run"], result["against"]) == ("full with train blocks:8-11,head", "full")


def test_the_baseline_itself_saves_nothing_and_needs_no_pilot(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "full")
    assert result["equal_tokens"] is None and result["pilot"] is None
    assert main(["plan", "full"]) == 0
    assert "saving" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("hours", "words"), [("100", "full fits 4.12 times"), ("12", "does not fit: it takes 2.02 times")]
)
def test_a_time_limit_is_compared_with_the_budget(hours: str, words: str, capsys: pytest.CaptureFixture[str]):
    unlimited, limited = plan(capsys, *MONEY), plan(capsys, *MONEY, "--hours", hours)
    assert unlimited["limit"] is None and limited["limit"]["hours"] == float(hours)
    assert limited["baseline"] == unlimited["baseline"] and limited["budget"]["unit"] == "tokens"
    fits = limited["limit"]["fits"]
    assert fits["baseline"] == pytest.approx(float(hours) / limited["time"]["baseline"]["hours"])
    assert fits["equal_tokens"] == pytest.approx(fits["baseline"] / limited["equal_tokens"]["flops_share"])
    assert main(["plan", *MONEY, "--hours", hours]) == 0
    assert words in capsys.readouterr().out


def test_a_study_file_is_planned_as_a_named_study_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "mine.py"
    file.write_text("from deepen.study.define.presets import STUDIES\nstudy = STUDIES['quickstart']()\n")
    assert plan(capsys, str(file), "--scale", "0.5") == plan(capsys, "quickstart", "--scale", "0.5")
    assert refused(capsys, str(tmp_path / "none.py")) == [f"error: study file {tmp_path}/none.py does not exist"]


def test_a_study_is_planned_arm_by_arm(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "paper")
    steps = {(m["arm"], m["accounting"], m["budget_share"]): m["steps"] for m in result["marks"]}
    assert steps["full", "flops", 1.0] == 10_000
    assert [steps[f"two-phase S={s}", "paper", 1.0] for s in (4, 8, 12)] == [14_688, 15_469, 15_729]


def test_the_folder_of_a_study_is_planned_with_the_spreads_that_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    noise = expected_noise(arms_std=0.002, baseline_std=0.02, slope=0.2, arms=6, seeds=2)
    verdict = {"arm": "small", "n_seeds": 2, "interval": [-0.1, 0.1]}
    results = {"arms": [], "verdicts": [verdict], "noise": noise.to_json(), "looks": [2], "seeds_planned": 2}
    durable.write_json(tmp_path / "study.json", {"study": quickstart().to_json()})
    durable.write_json(tmp_path / "results.json", results)
    result, reference = plan(capsys, str(tmp_path)), plan(capsys, "quickstart", "--out", str(tmp_path / "new"))
    assert result["marks"] == reference["marks"] and len(reference["power"]) == 2
    [power] = result["power"]
    assert (power["spreads"], power["baseline_std"]) == (str(tmp_path), pytest.approx(0.02))
    assert {each["seeds"]: each["confidence"] for each in power["detectable"]} == pytest.approx(
        {2: 0.95, 3: 0.9875, 5: 0.9875, 8: 0.9875}
    )
    assert main(["plan", str(tmp_path), "--seeds", "4"]) == 0
    shown = capsys.readouterr().out
    assert "4, planned" in shown and "The 6 intervals hold together with 98.75 %" in shown and "0.0200" in shown


def test_a_study_has_hours_and_a_price_and_pays_once_for_what_arms_share(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "paper", "--device", "h100", "--count", "8", "--price-per-hour", "2.5")
    time, separate = result["time"], sum(mark["flops"] for mark in result["marks"])
    sharing = result["sharing"]
    assert sharing["tokens_if_separate"] == sum(mark["tokens"] for mark in result["marks"])
    assert 0.5 < sharing["tokens_trained"] / sharing["tokens_if_separate"] < 0.8
    assert max(mark["flops"] for mark in result["marks"]) < time["flops"] < 0.7 * separate
    assert time["hours"] == pytest.approx(time["flops"] / (8 * DEVICES["h100"].peak_flops * 0.4) / 3600)
    assert time["cost"] == pytest.approx(time["hours"] * 8 * 2.5)
    twice = plan(capsys, "paper", "--device", "h100", "--count", "8", "--seeds", "2")["time"]
    assert twice["flops"] == 2 * time["flops"] and twice["cost"] is None
    assert plan(capsys, "paper")["time"] is None


def test_a_study_in_fp32_says_that_the_hours_are_those_of_bf16(capsys: pytest.CaptureFixture[str]):
    for preset, is_slower in (("paper-as-written", False), ("paper-as-released", True)):
        assert main(["plan", "paper", "--preset", preset, "--device", "h100"]) == 0
        assert ("training in fp32, as here, takes several times as long" in capsys.readouterr().out) is is_slower


def test_a_scaled_paper_keeps_its_shape(capsys: pytest.CaptureFixture[str]):
    whole, small = plan(capsys, "paper"), plan(capsys, "paper", "--scale", "0.001")
    assert small["budget_flops"] / whole["budget_flops"] == pytest.approx(0.001, rel=0.01)
    for a, b in zip(whole["marks"], small["marks"], strict=True):
        assert b["flops"] / small["budget_flops"] == pytest.approx(a["flops"] / whole["budget_flops"], rel=0.01)


def test_options_may_stand_before_the_name(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "--json", "paper"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "paper"


def test_the_human_plan_shows_the_marks_and_what_a_wrong_price_gives_away(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "two-phase", "--stages", "8", "--vocab", "50304", "--parts"]) == 0
    printed = capsys.readouterr().out
    assert "15,469" in printed and "stage 8 · phase 2" in printed and "█" in printed
    assert "By the paper's price two-phase would get 9.2 % more FLOPs than full has" in printed
    assert "attention counted densely" in printed and "r = 3" in printed and "peak" in printed


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_figure_is_drawn(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / f"plan.{suffix}"
    assert main(["plan", "two-phase", "--scope", "new-blocks-embeddings", "--figure", str(path)]) == 0
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(begins) and str(path) in capsys.readouterr().out


WRONG = {
    "--device h100 --precision fp32": "peaks are of bf16",
    "--steps 1e15": "more than 1,099,511,627,776 steps",
    "--flops 1e60": "at most 1e+30",
    "--tokens 1e300": "--tokens is 1e300: it must be at most",
    "--depth 1e9": "--depth is 1e9: it must be at most 2,000",
    "--batch-ramp 0:1e300": "at most",
    "--batch-ramp 0:1024,nan:1024": "shares of a ramp must",
    "--context-ramp 0:768,0.5:1024": "--batch-tokens with 524544",
    "--device h100 --price-per-hour 1e308": "at most 1e+30",
    "--figure .": ".png, .svg, .pdf",
    "--model paper": "--model 'paper' is unknown",
    "--device v100": "--device 'v100' is unknown",
    "--mfu 0.4": "--mfu needs a --device",
    "--hours 3": "--hours needs a --device",
    "--price-per-hour 2": "--price-per-hour needs a --device",
    "--shard": "--shard needs devices",
    "--reduce-gradients once": "--reduce-gradients is of models that --shard divides",
    "--steps 5 --flops 1e18": "--steps and --flops all set the budget",
    "--flops 10": "less than one step",
    "--device h100 --hours 1e-9": "less than one step",
    "--tokens-per-parameter 0": "--tokens-per-parameter is 0",
    "--width 700": "width 700 is not a multiple of heads 12",
    "--kv-heads 4": "use --family llama",
    "--family bert": "--family 'bert' is unknown",
    "--context 2048": "has 1024 positions",
    "--batch-ramp 0.5:1024": "shares of a ramp",
    "--batch-ramp 0:x": "--batch-ramp is '0:x'",
    "--batch-ramp 0:1000": "multiple of context",
    "--context-ramp 0:256 --context 256": "both set the context",
    "--batch-tokens 65536 --count 128": "whole sequences on each of 128 devices",
    "--figure plan.gif": ".png, .svg, .pdf",
    "--figure nowhere/plan.png": "a folder that exists",
    "--bench nothing.json": "nothing.json does not exist",
    "--bench nothing.json --device h100": "exclude each other",
    "--against bert": "--against 'bert' is unknown",
    "--attention sparse": "--attention 'sparse' is unknown",
    "--precision fp8": "--precision 'fp8' is unknown",
    "--count 0": "--count is 0",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_is_refused_with_what_would_be_right(wrong: str, capsys: pytest.CaptureFixture[str]):
    assert any(WRONG[wrong] in line for line in refused(capsys, "full", *wrong.split()))


def test_all_problems_are_reported_at_once(capsys: pytest.CaptureFixture[str]):
    lines = refused(
        capsys, "one-shot", "--device", "x", "--shard", "--ratio", "2", "--heads", "7", "--stages", "4"
    )
    for flag in ("--device", "--shard", "--ratio", "heads 7", "--stages"):
        assert any(flag in line for line in lines), flag


def test_hours_do_not_depend_on_how_attention_is_counted(capsys: pytest.CaptureFixture[str]):
    dense = plan(capsys, "full", "--device", "h100")
    exact = plan(capsys, "full", "--device", "h100", "--attention", "causal-exact")
    assert dense["time"]["hours"] == exact["time"]["hours"] and dense["total"] != exact["total"]


def test_naming_a_size_that_a_preset_has_changes_nothing(capsys: pytest.CaptureFixture[str]):
    named = plan(capsys, "full", "--model", "nano", "--depth", "12", "--width", "20")
    assert named == plan(capsys, "full", "--model", "nano")


def test_a_variant_keeps_batch_and_groups_of_its_preset(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "full", "--model", "llama-70b", "--heads", "128")
    assert result["model"]["kv_heads"] == 8 and result["phases"][0]["batch_tokens"] == 4_194_304


def test_a_narrow_terminal_cuts_no_number(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["plan", "two-phase", "--device", "h100", "--price-per-hour", "2"]) == 0
    table = capsys.readouterr().out.split("total ")[0]
    assert "…" not in table and "hours" in table and "cost" in table and "memory" in table
    pilot = "          deepen train "  # a command stays on its line
    assert max(len(line.rstrip()) for line in table.splitlines() if not line.startswith(pilot)) <= 80
    assert table.count("stage 4 · phase 2 ") == 1


def test_rounding_is_shown_against_the_budget_asked_for(capsys: pytest.CaptureFixture[str]):
    result = plan(capsys, "full", "--flops", "123456789", "--model", "nano", "--batch-tokens", "64")
    assert result["budget"] == {"asked": 123456789, "unit": "flops", "got": result["baseline"]["flops"]}
    assert main(["plan", "full", "--flops", "123456789", "--model", "nano", "--batch-tokens", "64"]) == 0
    assert "3 whole steps of full are +1.5" in capsys.readouterr().out


@pytest.mark.slow
def test_planning_does_not_wait_for_torch():
    for arguments in (["two-phase", "--json"], ["full", "--device", "h100", "--parts"], ["paper"]):
        code = (
            f"import sys; from deepen.cli.entry import main; main(['plan', *{arguments}]); "
            "sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0, arguments


def test_the_rate_of_a_plan_decays_over_the_share_of_tokens_or_of_compute(capsys: pytest.CaptureFixture[str]):
    line = "one-shot", "--model", "nano", "--steps", "1000", "--decay-share", "0.3", "--decay-shape", "sqrt"
    by_unit = {"tokens": "share_of_tokens", "compute": "share_of_flops"}
    for unit, other in (("tokens", "compute"), ("compute", "tokens")):
        rate = plan(capsys, *line, "--decay-in", unit)["rate"]
        assert rate["warmup"] == {"shape": "linear", "tokens": 20 * 1024}
        assert rate["decay"]["shape"] == "sqrt" and rate["decay"][by_unit[unit]] == pytest.approx(0.3, abs=1e-3)
        assert abs(rate["decay"][by_unit[other]] - 0.3) > 0.02 and rate["warnings"] == []


def test_a_plan_shows_how_the_model_grows(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "staged", "--model", "nano", "--steps", "1000", "--stages", "3"]) == 0
    assert "growth    4 to 8, 8 to 12 blocks: random, top; moments keep\n" in capsys.readouterr().out
    line = "one-shot --model nano --steps 1000 --layout 0-5,0-5 --noise 0.1 --rewarm-tokens 2048"
    assert main(["plan", *line.split()]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "growth 6 to 12 blocks: layout 0-5,0-5, noise 0.1; moments copy; the rate of new blocks rises" in printed
    )


def test_growth_after_the_decay_has_begun_is_a_warning(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "one-shot", "--model", "nano", "--grow-at", "0.9"]) == 0
    assert "warning   one-shot grows to 12 blocks after 90 % of its tokens, when" in capsys.readouterr().out
    assert main(["plan", "quickstart", "--rate", "cosine"]) == 0
    assert "Warning: arm one-shot grows to 4 blocks after 50 % of its tokens" in capsys.readouterr().out


def test_a_run_that_is_too_short_for_its_rate_is_a_warning(capsys: pytest.CaptureFixture[str]):
    rate = plan(capsys, "full", "--model", "nano", "--steps", "10", "--warmup-share", "0.9")["rate"]
    assert rate["warnings"] == [
        "--warmup-tokens is 9,216, but the decay begins at 8,192 tokens, inside the warm-up: use fewer "
        "--warmup-tokens, a smaller --warmup-share, a shorter decay, or more tokens"
    ]


def test_the_trained_parameters_of_each_phase_add_up(capsys: pytest.CaptureFixture[str]):
    phases = plan(capsys, "two-phase", "--stages", "2", "--train", "blocks:8-11,head", "--trainable")["phases"]
    for phase in phases:
        assert sum(each["parameters"] for each in phase["trainable"]) == phase["trainable_parameters"]
    assert phases[2]["scope"] == "blocks:8-11,head"
    assert {each["name"].split(".")[1] for each in phases[2]["trainable"] if each["tensors"] > 1} == {"8-11"}
    assert "trainable" not in plan(capsys, "two-phase")["phases"][0]


def test_the_list_of_parameters_is_printed_once_for_phases_that_train_the_same(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "staged", "--stages", "2", "--trainable"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("blocks.0-5.mlp.up.weight") == printed.count("blocks.0-11.mlp.up.weight") == 1
    assert "as in the phase before" in printed


def test_full_training_is_the_baseline_of_a_model_that_trains_in_part(capsys: pytest.CaptureFixture[str]):
    part = plan(capsys, "full", "--train", "blocks:11,head")
    assert part["total"]["steps"] > part["baseline"]["steps"] and part["against_options"] == {}
    assert (part["run"], part["against"]) == ("full with train blocks:11,head", "full")
    assert "--against full" in part["pilot"]["command"]


def test_a_plan_says_which_trials_its_tokens_leave_out(capsys: pytest.CaptureFixture[str]):
    arguments = ["plan", "quickstart", "--model", "nano", "--tune-rate", "3", "--tune-trials"]
    assert main([*arguments, "3"]) == 0
    assert "on top" not in capsys.readouterr().out
    assert main([*arguments, "5"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 trials" not in printed and "14 runs of trials come on top" in printed

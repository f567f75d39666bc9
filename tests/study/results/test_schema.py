import json
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deepen.durable import write_json
from deepen.study.results.records import Record
from deepen.study.results.results_file import ResultsError, load_results, write_results
from deepen.study.results.schema import (
    SCHEMA_VERSION,
    ArmResult,
    Bound,
    Outcome,
    Results,
    Verdict,
)

MARK = {
    "accounting": "flops", "budget_share": 1.0, "budget_flops": 10**20 + 1, "tokens": 64, "step": 2,
    "flops": 10**20 + 1, "seconds": 1.5, "steady_seconds": 1.25, "val_loss": 3.0, "val_tokens": 40,
    "val_stderr": 0.1, "val_blocks": [3.1, 2.9], "val_bits_per_byte": 1.2,
    "train_loss": 3.1, "annealed": True,
    "tasks": {"hellaswag": {"value": 0.5, "n": 4, "stderr": 0.25, "correct": "0110",
                            "metrics": {"acc": 0.5, "acc_stderr": 0.25}, "dtype": "float32"}},
}  # fmt: skip
POINT = {
    "tokens": 64, "step": 2, "flops": 10, "seconds": 1.5, "depth": 6, "phase": "shallow", "lr": 0.01,
    "train_loss": 3.1, "val_loss": 3.0,
}  # fmt: skip
ARM = {
    "name": "one-shot", "recipe": "one-shot", "is_control": False,
    "options": {"start_depth": 6, "grow_at": 0.5, "operator": "stack", "partition": [2, 4], "x": None},
    "rate": "wsd", "peak_lr": 0.02, "has_own_rate": True,
    "seed": 3, "segments": ["a", "b"],
    "phases": [{"label": "shallow", "tokens": 32, "flops": 5, "depth": 4, "blocks": 2, "layers": [0, 1, 0, 1],
                "trained": "new-blocks", "trained_layers": [1, 3], "cut": 1, "growth": "stack",
                "new_layers": [1, 3]}],
    "curve": [POINT],
    "growths": [
        {"tokens": 32, "flops": 5, "depth_before": 2, "depth_after": 4, "decayed_to": 0.5, "trigger": "plateau",
         "blocks_before": 6, "blocks_after": 12}
    ],
    "marks": [MARK],
    "tasks": [{"task": "hellaswag", "tokens": 64, "step": 2, "flops": 10, "seconds": 1.5, "value": 0.5, "n": 4,
               "stderr": 0.25, "metrics": {}, "dtype": ""}],
    "peak_memory_bytes": 1000, "trained_share": 0.5, "batch_ramp": "0:16,0.5:32", "context_ramp": "",
    "rate_at_edge": True,
}  # fmt: skip
NOISE = {
    "arms_std": 0.002, "arms_df": 5, "baseline_std": 0.01, "baseline_df": 2, "shared_std": None, "shared_df": 1,
    "text_std": 0.001, "stderr": 0.01, "degrees_of_freedom": 2.5, "correlation": 0.5, "critical_value": 4.2,
    "confidence": 0.95, "arms": 6, "seeds": 2, "budgets": 3, "slope": 0.2,
    "unequal_p": 0.01, "half_width": 0.04, "arm_half_width": 0.006,
    "detectable_multiplier": 1.2, "baseline_seed_std": 0.1, "residual_std": None,
}  # fmt: skip
VERDICT = {
    "arm": "one-shot", "baseline": "full", "accounting": "flops", "budget_share": 1.0, "budget_flops": 10,
    "n_seeds": 2, "seeds": [3, 4], "loss": 3.0, "difference": -0.1, "differences": [-0.1, -0.1],
    "stderr": 0.01, "degrees_of_freedom": 2.5, "confidence": 0.95,
    "interval": [-0.2, 0.0], "interval_alone": [-0.15, -0.05], "interval_own_seeds": None,
    "compute_multiplier": 1.2, "multiplier_interval": [1.0, 1.4], "multiplier_interval_bounds": [None, "above"],
    "multiplier_bound": None, "multiplier_withheld": "", "seconds_multiplier": 1.1,
    "seconds_multiplier_interval": [0.9, 1.3], "tokens": 64, "flops": 10.0, "seconds": 1.5,
    "peak_memory_bytes": 1000,
    "tasks": {"hellaswag": [{"seed": 3, "difference": 0.25, "mcnemar_p": 1.0}]},
    "task_tests": {"hellaswag": {"difference": 0.25, "p": 0.5, "p_holm": 1.0}},
    "outcome": "cannot tell", "depths_beaten": ["full"], "depths_not_beaten": ["small"],
    "depths_better": ["small"], "depths_at_edge": ["full"],
    "sentence": "one-shot: cannot tell",
}  # fmt: skip
REGIME = {
    "model": "nano", "family": "llama", "parametrization": "depth-mup",
    "depth": 12, "width": 20, "parameters": 100, "parameters_non_embedding": 80, "context": 64,
    "vocab": 512, "baseline_tokens": 64, "tokens_per_parameter": 0.8, "rate": "wsd", "peak_lr": 0.01,
    "precision": "fp32", "batch_tokens": 32, "seeds": [3],
    "data": {"name": "words", "fingerprint": "f", "tokenizer_sha256": "t", "train_tokens": 100,
             "validation_tokens": 10, "mark_tokens": 40, "epochs": 0.64},
    "task_files": {"hellaswag": "h"},
    "attention_flops": "dense", "machine": "a machine", "device": "a GPU", "step_time_spread": 1.1,
    "wall_seconds": 2.0,
    "warmup_tokens": 64, "decay_shape": "linear", "decay_share": 0.2,
    "decay_in": "tokens", "decay_tokens": None, "final_share": 0.0,
}  # fmt: skip
TUNING = {
    "seeds": [1000], "share": 1.0, "tokens": 64, "flops": 10, "tokens_if_separate": 64, "trials_per_arm": 1,
    "arms": [
        {"name": "one-shot", "recipe": "one-shot", "depth": 12, "is_fixed_depth": False,
         "trials": [{"peak": 0.02, "options": {"grow_at": 0.5}, "loss": 3.0, "losses": [3.0], "flops": 10,
                     "tokens": 64, "refined": True, "diverged": False, "losses_at_budgets": [3.2, None]}],
         "chosen_peak": 0.02, "chosen_options": {"grow_at": 0.5}, "at_edge": True, "options_at_edge": ["grow_at"],
         "is_best_fixed_depth": False, "flops": 10, "tokens": 64, "seconds": 1.5}
    ],
    "best_depths": [{"budget_share": 0.5, "arm": "small"}],
}  # fmt: skip
COMPLETE: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION, "study": "test", "command": "deepen study test",
    "baseline": "full", "deepen_version": "0.1.0",
    "regime": REGIME, "noise": NOISE, "arms": [ARM],
    "verdicts": [VERDICT], "depth_verdicts": [VERDICT], "depth_noise": NOISE,
    "sharing": {"tokens_trained": 5, "tokens_if_separate": 9},
    "trained_share": 0.75, "seeds_planned": 4, "looks": [2, 4], "primary": "one-shot",
    "tuning": TUNING, "best_fixed_depth": "small",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Point(Record):
    tokens: int
    loss: float | None
    name: str
    bound: Bound | None
    outcome: Outcome = Outcome.CANNOT_TELL
    pair: tuple[float, float] | None
    seeds: tuple[int, ...]


def read(**content: object) -> Point:
    return Point.from_json(content)


def test_a_file_is_read_and_written_without_loss(tmp_path: Path):
    results = Results.from_json(COMPLETE)
    assert json.dumps(results.to_json()) == json.dumps(COMPLETE)
    write_results(results, tmp_path)
    assert load_results(tmp_path) == results == load_results(str(tmp_path))


def test_the_promised_keys_are_there():
    """Scripts outside of the project rely on these."""
    content = Results.from_json(COMPLETE).to_json()
    assert content.keys() >= {"study", "baseline", "arms", "verdicts", "sharing"}
    [arm], [verdict] = content["arms"], content["verdicts"]
    assert arm.keys() >= {"name", "recipe", "seed", "segments", "curve", "marks", "peak_memory_bytes"}
    assert arm["curve"][0].keys() >= {"tokens", "flops", "seconds", "train_loss", "val_loss"}
    mark = {"accounting", "budget_flops", "tokens", "flops", "val_loss", "annealed", "tasks"}
    assert arm["marks"][0].keys() >= mark
    assert verdict.keys() >= {
        "arm", "accounting", "budget_flops", "n_seeds", "difference", "interval", "compute_multiplier",
        "multiplier_interval", "sentence",
    }  # fmt: skip
    assert content["sharing"].keys() >= {"tokens_trained", "tokens_if_separate"}


def test_a_field_can_be_read_by_its_key():
    results = Results.from_json(COMPLETE)
    assert results["arms"][0]["marks"][0]["val_loss"] == results.arms[0].marks[0].val_loss == 3.0
    with pytest.raises(KeyError):
        results["to_json"]


def test_unknown_keys_are_ignored():
    arm = ARM | {"colour": "red", "curve": [POINT | {"perplexity": 20.0}]}
    assert Results.from_json(COMPLETE | {"arms": [arm], "looks": [2, 4]}) == Results.from_json(COMPLETE)


@pytest.mark.parametrize("value", [None, "many", True, [1], {}, math.nan, math.inf, -math.inf, 1e300, 10**400])
def test_a_value_that_is_not_a_number_is_missing(value: object):
    point = read(tokens=value, loss=value)
    assert point.tokens == 0 and point.loss is None


def test_a_count_is_whole():
    assert read(tokens=2.0).tokens == 2 and read(tokens=2.5).tokens == 0


@pytest.mark.parametrize(
    ("given", "read_as"),
    [("a\nb\x1b[2J\u202ec", "a b [2J c"), ("  a ", "a"), (3, ""), (None, ""), (["a"], "")],
)
def test_a_string_is_one_printable_line(given: object, read_as: str):
    assert read(name=given).name == read_as


def test_unknown_names_are_missing():
    assert (read(bound="above").bound, read(bound="beside").bound) == (Bound.ABOVE, None)
    assert (read(outcome="wins").outcome, read(outcome="won").outcome) == (Outcome.WINS, Outcome.CANNOT_TELL)


def test_a_pair_is_complete_or_missing_and_a_list_leaves_out_entries_that_do_not_fit():
    assert read(pair=[1, 2]).pair == (1, 2)
    assert read(pair=[1, None]).pair is read(pair=[1]).pair is read(pair="ab").pair is None
    assert read(seeds=[1, "two", 3, None]).seeds == (1, 3)


@pytest.mark.parametrize("content", [None, 3, "x", [], [[]], {"arms": {"name": "x"}}])
def test_a_value_that_is_not_an_object_is_read_as_an_empty_one(content: object):
    assert Results.from_json(content) == Results.from_json({})


def test_numbers_that_are_not_finite_are_written_as_null():
    mark = Results.from_json(COMPLETE).arms[0].marks[0]
    assert replace(mark, val_loss=math.nan).to_json()["val_loss"] is None


@pytest.mark.parametrize(
    ("recipe", "is_control"), [("small", True), ("staged", True), ("one-shot", False), ("x", False)]
)
def test_in_an_old_file_the_recipe_decides_what_is_a_control(recipe: str, is_control: bool):
    old = {key: value for key, value in ARM.items() if key != "is_control"} | {"recipe": recipe}
    assert ArmResult.from_json(old).is_control is is_control
    assert ArmResult.from_json(old | {"is_control": not is_control}).is_control is not is_control


def test_a_record_passes_through():
    verdict = Verdict.from_json(VERDICT)
    assert Verdict.from_json(verdict) is verdict


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"arms": 3}', "null"])
def test_a_file_that_is_not_results_is_refused(content: str, tmp_path: Path):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ResultsError, match=r"results\.json"):
        load_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"results\.json does not exist"):
        load_results(tmp_path)


def test_a_file_of_a_newer_deepen_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_json(tmp_path / "results.json", COMPLETE | {"schema_version": SCHEMA_VERSION + 1})
    with caplog.at_level(logging.WARNING):
        assert load_results(tmp_path).study == "test"
    assert "schema version" in caplog.text

"""Compact results: what is read from them decides the same verdicts."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.report.publish.compact import encode_compact, make_compact
from deepen.study.judge.verdicts import judge, with_verdicts
from deepen.study.results.packed import UNIT, pack_answers, pack_blocks, unpack_answers, unpack_blocks
from deepen.study.results.results_file import load_results
from deepen.study.results.schema import Results, Verdict

SHARES = (0.25, 0.5, 0.7, 1.0, 1.4)


def make_results(arms: int = 3, *, blocks: int = 20, points: int = 40, tasks: bool = False) -> Results:
    """A study of full training and arms that grew, with three seeds and five budgets."""
    draw = random.Random(7)
    text = [draw.gauss(0, 0.2) for _ in range(blocks)]
    runs = [
        make_run(draw, f"arm {i}" if i else "full", seed, text, points, tasks)
        for i in range(arms)
        for seed in range(3)
    ]
    regime = {
        "depth": 6,
        "tokens_per_parameter": 20.0,
        "parameters_non_embedding": 10**6,
        "baseline_tokens": 10**6,
    }
    trial = {
        "peak": 0.012345678,
        "options": {"grow_at": 0.512345678},
        "loss": 4.0,
        "losses": [4.0],
        "flops": 1,
        "tokens": 1,
    }
    tuned = {
        "name": "arm 1",
        "depth": 6,
        "trials": [trial],
        "chosen_peak": 0.012345678,
        "chosen_options": trial["options"],
    }
    content = {"study": "made up", "baseline": "full", "arms": runs, "regime": regime, "tuning": {"arms": [tuned]}}
    return with_verdicts(
        Results.from_json(content | {"best_fixed_depth": "arm 1", "looks": [3], "seeds_planned": 3})
    )


def make_run(
    draw: random.Random, name: str, seed: int, text: list[float], points: int, tasks: bool
) -> dict[str, Any]:
    level = 4.0 + draw.gauss(0, 0.01) - (0 if name == "full" else 0.02)
    flops = [10**12 * (i + 1) / points * (1.0 if name == "full" else 0.8) for i in range(points)]
    curve = [
        {
            "tokens": 1000 * (i + 1), "step": i, "flops": each, "seconds": i / 7, "phase": "p", "depth": 6,
            "lr": 0.01 if i < 0.8 * points else 0.005, "train_loss": 6 - i / 17, "val_loss": 6 - i / 18,
        }
        for i, each in enumerate(flops)
    ]  # fmt: skip
    marks = []
    for share in SHARES:
        losses = [level - 0.2 * share + block + draw.gauss(0, 0.03) for block in text]
        answers = "".join(draw.choice("01") for _ in range(50))
        score = {"value": 0.5, "n": 50, "correct": answers}
        marks.append({
            "accounting": "flops", "budget_share": share, "budget_flops": 10**12 * share, "tokens": 10**6,
            "flops": 10**12 * share, "seconds": 100 * share / 3, "val_loss": sum(losses) / len(losses),
            "val_blocks": losses, "annealed": True, "tasks": {"hellaswag": score} if tasks else {},
        })  # fmt: skip
    growth = {"tokens": 1000 * (points // 2), "flops": 1, "depth_before": 3, "depth_after": 6}
    return {
        "name": name, "recipe": "full" if name == "full" else "one-shot", "seed": seed, "curve": curve,
        "marks": marks, "growths": [] if name == "full" else [growth], "segments": [f"{i:016x}" for i in range(6)],
    }  # fmt: skip


def write(results: Results, folder: Path, points: int = 10) -> Path:
    (folder / "results.json").write_bytes(encode_compact(make_compact(results, points)))
    return folder


def assert_same(found: tuple[Verdict, ...], wanted: tuple[Verdict, ...]) -> None:
    assert len(found) == len(wanted) > 0
    for new, old in zip(found, wanted, strict=True):
        assert (new.arm, new.budget_share, new.outcome) == (old.arm, old.budget_share, old.outcome)
        assert (new.difference, new.differences) == (old.difference, old.differences)
        assert new.interval == pytest.approx(old.interval, abs=2e-5)
        assert new.multiplier_interval == pytest.approx(old.multiplier_interval, rel=1e-3)
        assert new.task_tests == old.task_tests


def test_the_same_verdicts_are_found_in_it(tmp_path: Path):
    results = make_results(tasks=True)
    read = load_results(write(results, tmp_path))
    assert_same(judge(read.arms, read.baseline)[0], results.verdicts)
    again = with_verdicts(read)
    assert_same(again.depth_verdicts, results.depth_verdicts)
    assert any(verdict.task_tests for verdict in again.verdicts)


def test_the_verdicts_in_it_are_those_that_follow_from_it(tmp_path: Path):
    read = load_results(write(make_results(), tmp_path))
    for stored, judged in zip(read.verdicts, judge(read.arms, read.baseline)[0], strict=True):
        assert stored.sentence == judged.sentence and stored.outcome is judged.outcome
        assert stored.interval == pytest.approx(judged.interval, rel=1e-4, abs=1e-6)


def test_a_program_that_reads_its_json_judges_the_same(tmp_path: Path):
    folder = write(make_results(), tmp_path)
    content = json.loads((folder / "results.json").read_text())
    assert judge(content["arms"], "full") == judge(load_results(folder).arms, "full")
    for arm in content["arms"]:
        assert all(
            {"tokens", "flops", "seconds", "train_loss", "val_loss"} <= point.keys() for point in arm["curve"]
        )
        assert all(
            {"accounting", "budget_flops", "val_loss", "annealed", "tasks"} <= mark.keys() for mark in arm["marks"]
        )


def test_losses_at_marks_and_choices_are_exact(tmp_path: Path):
    results = make_results()
    read = load_results(write(results, tmp_path))
    for old, new in zip(results.arms, read.arms, strict=True):
        assert [mark.val_loss for mark in new.marks] == [mark.val_loss for mark in old.marks]
        assert [mark.budget_share for mark in new.marks] == [mark.budget_share for mark in old.marks]
    assert results.tuning is not None and read.tuning is not None
    assert read.tuning.arms[0].chosen == results.tuning.arms[0].chosen


def test_curves_keep_the_number_of_points_and_those_that_decide_what_is_compared():
    results = make_results(points=200)
    thin = make_compact(results, 10)
    for arm in thin.arms:
        tokens = [point.tokens for point in arm.curve]
        assert 10 <= len(tokens) <= 19 and tokens == sorted(tokens)
        assert {100_000, 101_000, 160_000, 200_000} <= set(tokens)  # growth, the first after, decay, end
        assert [point.step for point in arm.curve] == [each // 1000 - 1 for each in tokens]
    assert make_compact(thin, 10) == thin


def test_ten_arms_with_three_seeds_and_five_budgets_are_small(tmp_path: Path):
    results = make_results(10, blocks=64, points=100)
    size = (write(results, tmp_path, 12) / "results.json").stat().st_size
    assert size < 215_000 < len(json.dumps(results.to_json())) / 4


@pytest.mark.parametrize("marks", [[(4.155, 4.041, -0.1), (4.121, 4.010, 12.0)], [(0.0,)]])
def test_blocks_are_kept_to_a_unit(marks: list[tuple[float, ...]]):
    unpacked = unpack_blocks(pack_blocks(marks))
    assert unpacked is not None
    for old, new in zip(marks, unpacked, strict=True):
        assert new == pytest.approx(old, abs=0.51 * UNIT)


def test_marks_with_different_texts_are_not_packed(tmp_path: Path):
    assert pack_blocks([(4.0, 4.1), (4.0,)]) == pack_blocks([]) == pack_blocks([()]) == ""
    results = make_results()
    [first, *others] = results.arms
    marks = (replace(first.marks[0], val_blocks=(1.0, 2.0)), *first.marks[1:])
    read = load_results(write(replace(results, arms=(replace(first, marks=marks), *others)), tmp_path))
    assert read.arms[0].marks[0].val_blocks == (1.0, 2.0)
    assert len(read.arms[0].marks[1].val_blocks) == 20


@pytest.mark.parametrize(
    "packed", ["", "x", "2:", "0:eJwDAAAAAAE=", "-1:eJwDAAAAAAE=", "3:eJxjZGBgYGRgYGAAAAAbAAc=", 7, "a:b:c", "2:é"]
)
def test_blocks_of_a_stranger_that_cannot_be_unpacked_count_as_missing(packed: object):
    assert unpack_blocks(packed) is None


@pytest.mark.parametrize("answers", ["", "0", "1", "0110", "10" * 5021, "not answers", "3:x"])
def test_answers_are_kept(answers: str):
    assert unpack_answers(pack_answers(answers)) == answers

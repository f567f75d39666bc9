"""Names as they are shown: short, and as many different ones as in the results."""

from typing import Any

from deepen.report.figures.excess_figure import find_arms
from deepen.report.figures.isoflops import read_depth_study
from deepen.report.figures.tuning import draw_tuning
from deepen.report.publish.tables import TABLES
from deepen.report.summary.shown_names import shorten_names, with_shown_names
from deepen.report.summary.study_summary import summarize
from deepen.report.units import MAX_NAME_LENGTH
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.schema import Results
from depth_studies import make_depths

LONG = "everything that this group agreed on in its meeting of last October, "


def test_short_names_are_shown_as_they_are_and_long_ones_stay_different():
    names = ["full", f"{LONG}a", f"{LONG}b", f"{LONG}c", LONG[:MAX_NAME_LENGTH], "", "unnamed"]
    shown = shorten_names(names)
    assert [shown[name] for name in names if 0 < len(name) <= MAX_NAME_LENGTH] == ["full", names[4], "unnamed"]
    assert len(set(shown.values())) == len(names) and max(map(len, shown.values())) == MAX_NAME_LENGTH
    assert shown[names[1]].endswith("…") and shown[names[2]].endswith("… (2)")
    assert shown[""] == "unnamed (2)"


def test_a_long_name_that_another_arm_has_once_it_is_cut_gets_a_number():
    cut = f"{LONG[: MAX_NAME_LENGTH - 1]}…"
    assert shorten_names([LONG, cut])[cut] == cut
    assert shorten_names([LONG, cut])[LONG].endswith("… (2)")


def make_study(prefix: str) -> Results:
    """Full training and two arms that grew, with trials and a task, whose names begin with a prefix."""

    def arm(name: str, seed: int, loss: float) -> dict[str, Any]:
        curve = [{"tokens": t, "step": t, "flops": 10 * t, "val_loss": loss + 1 / t} for t in (1, 2, 3, 4)]
        scores = {f"{prefix}{task}": {"value": value, "n": 9} for task, value in (("x", 0.25), ("y", 0.5))}
        mark = {"budget_share": 1.0, "budget_flops": 40, "annealed": True, "tasks": scores}
        grown = [] if name == "full" else [{"tokens": 2, "flops": 20, "depth_before": 1, "depth_after": 2}]
        run = {"name": f"{prefix}{name}", "seed": seed, "curve": curve, "growths": grown}
        return run | {"marks": [curve[-1] | mark]}

    losses = {"full": 4.0, "one": 3.9, "two": 3.7}
    trials = [
        {"name": f"{prefix}{name}", "trials": [{"peak": 0.01, "loss": loss}, {"peak": 0.02, "loss": 4.5}]}
        for name, loss in losses.items()
    ]
    arms = [arm(name, seed, loss + seed / 99) for name, loss in losses.items() for seed in (0, 1)]
    names = {"baseline": f"{prefix}full", "primary": f"{prefix}two", "best_fixed_depth": f"{prefix}one"}
    return with_verdicts(Results.from_json({"arms": arms, "tuning": {"arms": trials}} | names))


def test_arms_and_tasks_whose_names_begin_alike_are_shown_as_those_with_short_names():
    short, long = summarize(make_study("")), summarize(make_study(LONG))
    assert [arm.seeds for arm in long.arms] == [(0, 1)] * 3
    assert [arm.curve for arm in long.arms] == [arm.curve for arm in short.arms]
    assert [v.difference for v in long.verdicts] == [v.difference for v in short.verdicts]
    assert [long.find_arm(v.arm) for v in long.verdicts] == list(long.arms[1:])
    assert long.find_arm(long.primary) is long.arms[2] and long.find_arm(long.best_fixed_depth) is long.arms[1]
    for study in (short, long):
        assert [arm for arm, _ in find_arms(study)] == list(study.arms[1:])
        assert [panel.colour for panel in draw_tuning(study).panels] == [arm.colour for arm in study.arms]
        assert [arm.mark_at_equal_compute is not None for arm in study.arms] == [True] * 3
    values = [
        [score.value for score in mark.tasks.values()] for arm in long.arms if (mark := arm.mark_at_equal_compute)
    ]
    assert values == [[0.25, 0.5]] * 3
    for name in ("verdicts", "budgets", "seeds", "trials", "tasks"):
        tables = [str(TABLES[name].make(make_study(prefix))) for prefix in ("", LONG)]
        assert tables[0].count("\n") == tables[1].count("\n"), name


def test_constant_depths_with_long_names_are_compared():
    content = make_depths().to_json()
    for arm in content["arms"]:
        arm["name"] = f"{LONG}{arm['name']}"
    content["baseline"] = f"{LONG}{content['baseline']}"
    short, long = read_depth_study(make_depths()), read_depth_study(Results.from_json(content))
    assert short is not None and long is not None and long.curves == short.curves


def test_names_that_are_shown_already_stay():
    shown = with_shown_names(make_study(LONG))
    assert with_shown_names(shown) == shown

"""Loss against depth: where points stand, and which constant depth is the reference."""

from typing import Any

import pytest

from deepen.report.figures.depths import Depths, collect_depths
from deepen.report.figures.depths_figure import depths_chart
from deepen.report.summary.study_summary import summarize
from deepen.study.results.schema import Results


def make_phase(tokens: int, depth: int, **more: Any) -> dict[str, Any]:
    layers = list(range(depth))
    known = {"tokens": tokens, "depth": depth, "blocks": depth, "trained": "all", "trained_layers": layers}
    return known | more


def make_arm(name: str, loss: float, *phases: dict[str, Any]) -> dict[str, Any]:
    mark = {"accounting": "flops", "budget_share": 1.0, "tokens": 60, "flops": 1e9, "val_loss": loss}
    return {"name": name, "seed": 0, "phases": list(phases), "marks": [mark]}


def make_tuned(name: str, depth: int, loss: float, *, is_fixed: bool = True) -> dict[str, Any]:
    trials = [{"peak": 0.01, "options": {}, "loss": loss}, {"peak": 0.02, "options": {}, "loss": loss + 0.1}]
    return {
        "name": name, "depth": depth, "is_fixed_depth": is_fixed, "trials": trials, "chosen_peak": 0.01,
        "chosen_options": {},
    }  # fmt: skip


def collect(**content: Any) -> Depths:
    return collect_depths(summarize(Results.from_json({"baseline": "full"} | content)))


FULL = make_arm("full", 4.2, make_phase(50, 12))
SMALL = make_arm("small", 4.1, make_phase(80, 6))
GROWN = make_arm("grown", 4.0, make_phase(30, 6), make_phase(30, 12))
FROZEN = make_arm("frozen", 4.3, make_phase(50, 12) | {"trained_layers": [10, 11], "cut": 10})


def test_an_arm_that_grows_stands_at_its_mean_depth():
    depths = collect(arms=[FULL, SMALL, GROWN, FROZEN])
    places = {point.arm: (point.depth, point.is_fixed) for point in depths.measured}
    assert places == {"full": (12, True), "small": (6, True), "grown": (9, False), "frozen": (12, False)}
    assert depths.is_drawn and depths.reference is not None and depths.reference.arm == "small"


def test_one_constant_depth_is_no_curve():
    assert not collect(arms=[FULL, GROWN]).is_drawn


def test_the_interval_of_a_difference_is_drawn_around_the_loss():
    verdict = {"arm": "grown", "budget_share": 1.0, "difference": -0.2, "interval": [-0.3, -0.1]}
    depths = collect(arms=[FULL, SMALL, GROWN], verdicts=[verdict])
    [grown] = [point for point in depths.measured if point.arm == "grown"]
    assert (grown.low, grown.high) == pytest.approx((3.9, 4.1))


def test_the_best_fixed_depth_of_the_trials_is_the_reference():
    """It was chosen on the seeds of the trials, so a lower loss on the study's seeds changes nothing."""
    best = make_arm("depth 8", 4.15, make_phase(70, 8))
    tuned = [
        make_tuned("full", 12, 4.3),
        make_tuned("depth 8", 8, 4.2),
        make_tuned("grown", 12, 4.1, is_fixed=False),
    ]
    depths = collect(arms=[FULL, SMALL, GROWN, best], tuning={"arms": tuned}, best_fixed_depth="depth 8")
    assert depths.reference is not None
    assert (depths.reference.arm, depths.reference.loss) == ("depth 8", 4.15)
    assert [(point.arm, point.depth, point.loss) for point in depths.tuned] == [
        ("depth 8", 8, 4.2), ("grown", 9, 4.1), ("full", 12, 4.3),
    ]  # fmt: skip
    assert depths_chart(depths)["line"]["y"] == 4.15

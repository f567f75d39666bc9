"""IsoFLOP curves: losses of constant depths at equal compute, and the depth that is best at its own 20 tokens."""

from typing import Any

import pytest

from deepen.report.figures.isoflops import DepthStudy, read_depth_studies, read_depth_study
from deepen.report.figures.isoflops_figure import draw_isoflops
from deepen.study.results.schema import Results
from depth_studies import DEPTHS, FLOPS, PARAMETERS, SHARES, best_at, make_depths


def read(**options: Any) -> DepthStudy:
    study = read_depth_study(make_depths(**options))
    assert study is not None
    return study


def test_there_is_a_curve_for_each_budget_with_the_tokens_per_parameter_of_each_depth():
    study = read()
    assert [curve.share for curve in study.curves] == list(SHARES)
    for curve in study.curves:
        assert [each.depth for each in curve.depths] == list(DEPTHS)
        assert curve.best.minimum == pytest.approx(best_at(curve.budget), rel=0.01)
        for each in curve.depths:
            assert each.tokens_per_parameter == pytest.approx(
                curve.budget / (each.depth * FLOPS) / (each.depth * 100), rel=1e-3
            )


def test_the_depth_that_is_best_at_its_own_ratio_is_found_between_budgets():
    own = read().own_best
    assert own is not None and own.interval is not None
    assert own.depth == pytest.approx(5, rel=0.02)
    assert own.budget == pytest.approx(20 * 100 * 5 * 5 * FLOPS, rel=0.05)
    assert read().nearest.share == 0.2  # 35 MFLOP, the nearest to 30


def test_its_interval_has_the_minimum_in_it():
    own = read(seeds=3, noise=0.01).own_best
    assert own is not None and own.interval is not None
    low, high = own.interval
    assert low < own.depth < high


def test_budgets_that_do_not_reach_the_own_ratio_tell_nothing():
    """The depths that are tried are best only far from 20 tokens per parameter."""
    assert read(parameters_non_embedding=100 * PARAMETERS).own_best is None


def test_growing_arms_and_few_depths_make_no_curve():
    assert read_depth_study(make_depths(depths=(2, 12))) is None
    results = make_depths(depths=(2, 4, 12))
    assert read_depth_study(results) is not None
    grown = [{"depth": 2, "blocks": 2, "tokens": 1}, {"depth": 4, "blocks": 4, "tokens": 1}]
    arms = [arm.to_json() | ({"phases": grown} if arm.name == "depth 4" else {}) for arm in results.arms]
    assert read_depth_study(Results.from_json(results.to_json() | {"arms": arms})) is None


def test_studies_of_one_width_with_other_budgets_are_one():
    """Each study has one budget, as where every depth is compared at its own 20 tokens per parameter."""
    whole = make_depths()
    parts = []
    for index in range(len(SHARES)):
        arms = [arm.to_json() | {"marks": [arm.to_json()["marks"][index]]} for arm in whole.arms]
        parts.append(Results.from_json(whole.to_json() | {"arms": arms}))
    [merged] = read_depth_studies(reversed(parts))
    alone = read()
    assert [curve.budget for curve in merged.curves] == [curve.budget for curve in alone.curves]
    assert merged.own_best == alone.own_best is not None
    assert len(read_depth_studies([whole, make_depths(batch_tokens=512)])) == 2


def test_studies_are_in_the_order_of_their_widths():
    group = [make_depths(width=48, family="llama", parametrization="standard"), make_depths()]
    titles = [study.title for study in read_depth_studies(group)]
    assert titles == ["depths, width 24", "width 48, llama, standard"]


@pytest.mark.parametrize(
    ("key", "value"), [("flops", -1.0), ("flops", 0), ("budget_flops", -5), ("tokens", 0), ("budget_share", -1)]
)
def test_marks_that_have_no_place_in_the_figure_are_left_out(key: str, value: float):
    content = make_depths().to_json()
    for arm in content["arms"]:
        for mark in arm["marks"][1:]:
            mark[key] = value
    study = read_depth_study(Results.from_json(content))
    assert study is not None and len(study.curves) == 1
    draw_isoflops([study])


@pytest.mark.parametrize("key", ["depth", "parameters_non_embedding"])
def test_a_study_of_no_parameters_has_no_curves(key: str):
    content = make_depths().to_json()
    content["regime"][key] = -1
    assert read_depth_study(Results.from_json(content)) is None

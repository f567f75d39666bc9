"""The figures of a study with several budgets."""

from typing import Any

import pytest

from deepen.report.figures.budgets import budget_chart, draw_budgets, has_several_budgets
from deepen.report.page.page import render_page
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.study.results.schema import Results

NAME = "late <b>"


def mark(share: float, loss: float) -> dict[str, Any]:
    place = {"tokens": 100 * share, "flops": 1000 * share, "seconds": 1.0, "step": 2}
    return {"accounting": "flops", "budget_share": share, "val_loss": loss, "annealed": True, **place}


def verdict(share: float, difference: float, accounting: str = "flops") -> dict[str, Any]:
    interval = [difference - 0.2, difference + 0.1]
    return {"arm": NAME, "accounting": accounting, "budget_share": share, "difference": difference,
            "interval": interval}  # fmt: skip


def study(*verdicts: dict[str, Any], per_parameter: float | None = 20.0) -> StudySummary:
    arms = [
        {"name": "full", "recipe": "full", "marks": [mark(s, 4.0 - s) for s in (1.0, 0.25, 0.7, 1.4)]},
        {"name": NAME, "recipe": "one-shot", "marks": [mark(1.0, 2.9), mark(0.25, 3.8)]},
    ]
    regime = {"tokens_per_parameter": per_parameter}
    content = {"study": "s", "baseline": "full", "arms": arms, "verdicts": [*verdicts], "regime": regime}
    return summarize(Results.from_json(content))


TWO = study(verdict(1.0, -0.1), verdict(0.25, 0.05))


def test_losses_stand_at_the_budgets_of_their_runs_in_rising_order():
    full, late = budget_chart(TWO, "budget-loss")["traces"]
    assert full["x"] == pytest.approx([5, 14, 20, 28]) and full["y"] == pytest.approx([3.75, 3.3, 3.0, 2.6])
    assert late["x"] == pytest.approx([5, 20]) and late["y"] == [3.8, 2.9]


def test_differences_have_the_intervals_of_the_verdicts():
    chart = budget_chart(TWO, "budget-difference")
    [late] = chart["traces"]
    assert late["x"] == pytest.approx([5, 20]) and late["y"] == [0.05, -0.1]
    assert late["error_y"]["arrayminus"] == pytest.approx((0.2, 0.2))
    assert late["error_y"]["array"] == pytest.approx((0.1, 0.1))
    assert chart["ticks"] == {"values": [5, 20], "labels": ["5", "20"]}


def test_a_budget_is_a_share_where_the_tokens_per_parameter_are_unknown():
    unknown = study(verdict(1.0, -0.1), verdict(0.25, 0.05), per_parameter=None)
    assert budget_chart(unknown, "budget-loss")["traces"][1]["x"] == [0.25, 1.0]
    assert "tokens" not in budget_chart(unknown, "budget-loss")["x"]


@pytest.mark.parametrize("share", [0.0, -1.0])
def test_a_budget_that_no_logarithm_has_is_left_out(share: float):
    odd = study(verdict(1.0, -0.1), verdict(0.25, 0.05), verdict(share, 0.0))
    assert budget_chart(odd, "budget-difference") == budget_chart(TWO, "budget-difference")
    draw_budgets(odd)


@pytest.mark.parametrize("verdicts", [(), (verdict(1.0, -0.1),), (verdict(1.0, -0.1), verdict(1.0, 0.1, "paper"))])
def test_a_study_with_one_budget_has_no_such_section(verdicts: tuple[dict[str, Any], ...]):
    one = study(*verdicts)
    assert not has_several_budgets(one) and "From small budgets" not in render_page(one, ())


def test_the_page_has_the_section_and_no_name_becomes_markup():
    page = render_page(TWO, ())
    assert has_several_budgets(TWO) and "From small budgets to large" in page
    assert "late <b>" not in page and "late <b>" not in str(budget_chart(TWO, "budget-difference"))


def test_the_static_figure_has_every_arm_in_both_panels():
    left, right = draw_budgets(TWO).axes
    assert len(left.containers) == 2 and len(right.containers) == 1


def test_an_interval_that_does_not_contain_its_difference_is_drawn_up_to_it():
    odd = study(verdict(1.0, -0.1), verdict(0.25, 0.05) | {"interval": [0.3, 0.4]})
    [late] = budget_chart(odd, "budget-difference")["traces"]
    assert late["error_y"]["arrayminus"] == pytest.approx((0, 0.2))
    draw_budgets(odd)

"""The rows of verdicts at several budgets, and of unfinished runs."""

from typing import Any

from deepen.report.page.rows import make_rows, make_unfinished_rows
from deepen.report.summary.study_summary import summarize
from deepen.study.results.schema import Results


def run(seed: int, share: float | None, *points: tuple[int, float | None, float]) -> dict[str, Any]:
    curve = [
        {"tokens": 1000 * step, "step": step, "seconds": step, "flops": step, "val_loss": val, "train_loss": train}
        for step, val, train in points
    ]
    return {"name": "full", "seed": seed, "trained_share": share, "curve": curve}


def test_an_unfinished_run_is_shown_as_far_as_it_is():
    arms = [run(0, 1, (2, 3.0, 3.1)), run(1, 0.456, (1, 4.0, 4.1), (2, None, 3.9)), run(2, 0), run(3, None)]
    rows = make_unfinished_rows(summarize(Results.from_json({"baseline": "full", "arms": arms})))
    assert [(row.arm, row.seed, row.trained) for row in rows] == [("full", "1", "45 %"), ("full", "2", "0 %")]
    assert (rows[0].tokens, rows[0].seconds, rows[0].val_loss, rows[0].train_loss) == (
        "2.00 k",
        "2.0 s",
        "4.000",
        "3.900",
    )
    assert (rows[1].tokens, rows[1].val_loss) == ("–", "–")


def test_verdicts_stand_in_the_order_of_their_budgets_the_study_s_own_first():
    verdicts = [
        {"arm": name, "accounting": "flops", "budget_share": share, "n_seeds": 2, "difference": -0.1}
        for name in ("grown", "small")
        for share in (1.0, 0.5, 0.25)
    ]
    content = {
        "arms": [{"name": name, "seed": 0} for name in ("full", "grown", "small")],
        "baseline": "full",
        "verdicts": verdicts,
        "regime": {"tokens_per_parameter": 20},
    }
    rows = make_rows(summarize(Results.from_json(content)))
    own, quarter, half = (
        "At the study’s budget, 20 tokens per parameter",
        "At 0.25 × the budget, 5.0 tokens per parameter",
        "At 0.50 × the budget, 10 tokens per parameter",
    )
    assert [(row.heading, row.arm) for row in rows] == [
        (heading, name) for heading in (own, quarter, half) for name in ("grown", "small")
    ]
    one = make_rows(summarize(Results.from_json(content | {"verdicts": verdicts[::3]})))
    assert [row.heading for row in one] == ["", ""], "a study with one budget needs no headings"


def test_a_win_says_which_constant_depths_are_not_beaten():
    def verdict(
        name: str, outcome: str, *, beaten: list[str], unbeaten: list[str], at_edge: list[str] | None = None
    ) -> dict[str, Any]:
        depths = {"depths_beaten": beaten, "depths_not_beaten": unbeaten, "depths_at_edge": at_edge or []}
        place = {"baseline": "full", "accounting": "flops", "budget_share": 1.0, "n_seeds": 2, "difference": -0.1}
        return {"arm": name, "outcome": outcome, **place, **depths}

    content = {
        "arms": [{"name": name, "seed": 0} for name in ("full", "a", "b", "c", "d", "e", "f")],
        "baseline": "full",
        "verdicts": [
            verdict("a", "wins", beaten=["full", "small 2"], unbeaten=[]),
            verdict("b", "wins", beaten=["full"], unbeaten=["small 2"]),
            verdict("c", "cannot tell", beaten=[], unbeaten=["full", "small 2"]),
            verdict("d", "wins", beaten=["full"], unbeaten=[]),
            verdict("f", "wins", beaten=["full"], unbeaten=["small 2"]) | {"depths_better": ["small 2"]},
            verdict("e", "wins", beaten=["full", "small 2"], unbeaten=[], at_edge=["small 2"]),
        ],
    }
    notes = {row.arm: row.note for row in make_rows(summarize(Results.from_json(content)))}
    assert notes == {
        "a": "beats both constant depths",
        "b": "not shown to beat small 2",
        "c": "",
        "d": "",
        "f": "worse than small 2",
        "e": "beats both constant depths; the rate of small 2 is at the edge of those tried",
    }

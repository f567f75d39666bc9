"""The rows of unfinished runs."""

from typing import Any

from deepen.report.page.rows import make_unfinished_rows
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

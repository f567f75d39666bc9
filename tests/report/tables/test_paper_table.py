"""The table of verdicts for a paper."""

from pathlib import Path
from typing import Any

import pandas as pd

from deepen.report.tables.data_files import make_tables, write_csv
from deepen.report.tables.paper_table import escape_latex, make_paper_rows, to_latex, write_latex
from deepen.study.results.schema import Results


def verdict(**more: Any) -> dict[str, Any]:
    return {
        "arm": "one_shot", "baseline": "full", "difference": -0.042, "interval": [-0.08, -0.004], "n_seeds": 2,
        "degrees_of_freedom": 2.5, "confidence": 0.95, "compute_multiplier": 1.22,
        "multiplier_interval": [1.02, 1.4], "multiplier_interval_bounds": [None, "above"],
        "seconds_multiplier": 1.1,
    } | more  # fmt: skip


def results() -> Results:
    arms = [{"name": name, "seed": 0, "is_control": name == "small"} for name in ("full", "one_shot", "small")]
    small = verdict(
        arm="small", compute_multiplier=1.17, multiplier_interval=[1.17, 1.4], multiplier_bound="above"
    )
    others = [verdict(accounting="paper"), verdict(budget_share=0.5), verdict(difference=None)]
    return Results.from_json({
        "baseline": "full", "arms": arms, "verdicts": [verdict(), *others, small],
        "depth_verdicts": [verdict(baseline="depth 6", compute_multiplier=None, multiplier_interval=None)],
    })  # fmt: skip


def test_the_table_has_each_arm_at_equal_exact_flops_against_each_baseline():
    rows = [(row.arm, row.baseline, row.is_control) for row in make_paper_rows(results())]
    assert rows == [("one_shot", "full", False), ("small", "full", True), ("one_shot", "depth 6", False)]


def test_latex_has_the_numbers_their_bounds_and_escaped_names(tmp_path: Path):
    assert write_latex(results(), tmp_path) == ("paper-table.tex",)
    lines = (tmp_path / "paper-table.tex").read_text().splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert body[1] == (
        r"one\_shot & full & $-0.0420$ & $[-0.0800, -0.0040]$ & $1.22$ & $[1.02, {>}1.40]$ & $1.10$ & 2 & $2.5$ \\"
    )
    assert r"small (control) & full" in body[2] and r"$\ge 1.17$" in body[2]
    assert r"one\_shot & depth 6" in body[3] and "& -- & -- &" in body[3]
    assert {line.count("&") for line in body} == {8}
    assert escape_latex(r"100 % of \x{y}") == r"100 \% of \textbackslash{}x\{y\}"
    assert [escape_latex(name) for name in ("[2pt] a", "*a", "a*[2]")] == ["{[}2pt] a", "{*}a", "a*[2]"]


def test_csv_has_the_same_numbers_and_a_study_without_verdicts_has_no_table(tmp_path: Path):
    write_csv(make_tables(results()), tmp_path)
    table = pd.read_csv(tmp_path / "paper-table.csv")
    assert list(table["difference"]) == [-0.042] * 3 and list(table["multiplier_interval_low"][:2]) == [1.02, 1.17]
    empty = Results.from_json({"baseline": "full", "arms": []})
    assert write_latex(empty, tmp_path / "empty") == () and "paper-table" not in make_tables(empty)
    assert to_latex(()).count(r"\hline") == 3

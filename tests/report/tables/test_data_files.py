"""The tables of a study, as pandas reads them."""

from pathlib import Path
from typing import Any

import pandas as pd

from deepen.report.tables.data_files import make_tables, write_csv, write_parquet
from deepen.study.results.schema import Results

MANY_FLOPS = 4 * 10**21
"""More than 64 bits hold."""


def make_results() -> Results:
    score = {"value": 0.29, "n": 10042, "stderr": 0.0045, "correct": "01" * 5021}
    at = {"tokens": 64, "step": 2, "flops": MANY_FLOPS, "seconds": 1}
    points: list[dict[str, Any]] = [
        at | {"depth": 2, "phase": 'full, then "more"', "train_loss": 4, "val_loss": None},
        at | {"tokens": 128, "depth": None, "phase": "", "train_loss": 3.5, "val_loss": 3.25},
    ]
    mark = at | {"accounting": "flops", "budget_share": 1, "val_loss": 3.0, "annealed": True}
    arms = [
        {"name": "full", "seed": 0, "curve": points, "marks": [mark | {"tasks": {"hellaswag": score}}]},
        {"name": "staged S=4", "seed": 1, "curve": points, "marks": [mark]},
    ]
    verdicts = [
        {"arm": "staged S=4", "difference": 0.1, "interval": None, "n_seeds": 2, "outcome": "loses"},
        {
            "arm": "staged S=4",
            "accounting": "paper",
            "difference": 0.1,
            "interval": [0, 1.5],
            "multiplier_interval_bounds": ["below", None],
        },
    ]
    return Results.from_json({"study": "s", "baseline": "full", "arms": arms, "verdicts": verdicts})


def test_pandas_reads_the_same_from_csv_and_from_parquet(tmp_path: Path):
    tables = make_tables(make_results())
    names = ("curves", "marks", "verdicts", "paper-table")
    assert write_csv(tables, tmp_path) == tuple(f"{name}.csv" for name in names)
    assert write_parquet(tables, tmp_path) == tuple(f"{name}.parquet" for name in names)
    for name in tables:
        text = pd.read_csv(tmp_path / f"{name}.csv")
        binary = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(text) == list(binary)
        for column in text:
            empty = binary[column].isna() | (binary[column] == "")  # CSV cannot tell them apart
            assert list(text[column].dropna()) == list(binary[column][~empty])


def test_numbers_are_numbers_however_large(tmp_path: Path):
    write_csv(make_tables(make_results()), tmp_path)
    curves, marks = pd.read_csv(tmp_path / "curves.csv"), pd.read_csv(tmp_path / "marks.csv")
    assert (curves["flops"] == float(MANY_FLOPS)).all() and curves["flops"].dtype == "float64"
    assert curves["train_loss"].dtype == "float64" and curves["tokens"].dtype == "int64"
    assert list(curves["phase"].fillna("")) == ['full, then "more"', ""] * 2
    assert list(marks["hellaswag_n"].fillna(0)) == [10042, 0] and "hellaswag_correct" not in marks
    assert marks["annealed"].dtype == "bool"


def test_a_pair_has_two_columns(tmp_path: Path):
    write_parquet(make_tables(make_results()), tmp_path)
    verdicts = pd.read_parquet(tmp_path / "verdicts.parquet")
    assert list(verdicts["interval_low"].fillna(-1)) == [-1, 0] and verdicts["interval_high"][1] == 1.5
    assert verdicts["multiplier_interval_bounds_low"][1] == "below"
    assert list(verdicts["outcome"]) == ["loses", "cannot tell"]


def test_every_trial_has_a_line(tmp_path: Path):
    options = [{"grow_at": share} for share in (0.3, 0.5)]
    trials = [
        {"peak": 0.01, "options": each, "loss": 4.0 + each["grow_at"], "flops": 5, "tokens": 3} for each in options
    ]
    tuned = {"name": "one-shot", "depth": 12, "trials": trials, "chosen_peak": 0.01, "chosen_options": options[0]}
    write_csv(make_tables(Results.from_json({"arms": [], "tuning": {"arms": [tuned]}})), tmp_path)
    table = pd.read_csv(tmp_path / "trials.csv")
    assert list(table["options"]) == ["grow_at 0.3", "grow_at 0.5"]
    assert list(table["loss"]) == [4.3, 4.5] and list(table["is_chosen"]) == [True, False]


def test_a_name_that_is_a_formula_is_text_in_a_spreadsheet(tmp_path: Path):
    marks = [{"budget_share": 1.0, "val_loss": -4.0, "tasks": {"@task": {"value": 0.5}}}]
    results = Results.from_json(
        {"arms": [{"name": name, "marks": marks} for name in ("=1+1", "+x", "-x", "full")]}
    )
    write_csv(make_tables(results), tmp_path)
    table = pd.read_csv(tmp_path / "marks.csv")
    assert list(table["arm"]) == ["'=1+1", "'+x", "'-x", "full"]
    assert list(table["val_loss"]) == [-4.0] * 4 and list(table["'@task_value"]) == [0.5] * 4


def test_an_integer_beyond_64_bits_is_unknown_in_parquet(tmp_path: Path):
    curve = [{"tokens": 10**30, "flops": 1}, {"tokens": 7, "flops": 2}]
    tables = make_tables(Results.from_json({"arms": [{"name": "full", "curve": curve}]}))
    write_csv(tables, tmp_path)
    write_parquet(tables, tmp_path)
    assert list(pd.read_parquet(tmp_path / "curves.parquet")["tokens"].fillna(-1)) == [-1, 7]
    assert str(10**30) in (tmp_path / "curves.csv").read_text()

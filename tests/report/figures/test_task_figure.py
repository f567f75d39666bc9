"""The figures of a task: lines along the runs, circles and standard errors at equal compute."""

import json
from math import isnan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from deepen.report.figures.curves import task_chart
from deepen.report.figures.task_figure import draw_losses_and_task, draw_task
from deepen.report.publish.compact import encode_compact, make_compact
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.study.results.schema import Results


def make_study(**changes: Any) -> StudySummary:
    return summarize(make_results(**changes))


def make_results(batch_tokens: int = 1, *, has_steps: bool = True, ramp: str = "") -> Results:
    """Two arms with ten points, with the steps of their curves or without."""

    def score(step: int, value: float) -> dict[str, Any]:
        return {"task": "hellaswag", "tokens": step, "step": step, "value": value, "n": 100, "stderr": 0.04}

    def point(step: int, loss: float) -> dict[str, Any]:
        point = {"tokens": batch_tokens * step, "flops": step, "seconds": step, "phase": "a", "lr": 1.0}
        return point | {"step": step, "val_loss": loss, "train_loss": loss}

    def mark(
        step: int, loss: float, value: float, accounting: str = "flops", share: float = 1.0
    ) -> dict[str, Any]:
        scores = {"hellaswag": {"value": value, "n": 100, "stderr": 0.04}}
        return point(step, loss) | {"accounting": accounting, "budget_share": share, "tasks": scores}

    def arm(name: str, *marks: dict[str, Any]) -> dict[str, Any]:
        curve = [point(step, 5 - step / 10) for step in range(1, 11)]
        tasks = [score(step, 0.25 + step / 100) for step in range(1, 11)]
        curve = curve if has_steps else [each | {"step": None} for each in curve]
        run = {"name": name, "seed": 0, "curve": curve, "tasks": tasks, "marks": marks}
        return run | {"batch_ramp": ramp}

    arms = [
        arm("full", mark(10, 3.9, 0.36), mark(7, 4.2, 0.31, share=0.7)),
        arm("two-phase S=4", mark(12, 4.0, 0.34), mark(15, 3.8, 0.38, accounting="paper")),
    ]
    regime = {"batch_tokens": batch_tokens}
    return Results.from_json({"study": "s", "baseline": "full", "arms": arms, "regime": regime})


def circles(axes: Axes) -> set[tuple[float, float, float]]:
    """Position and size of each circle."""
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    return {(float(x), float(y), dot.get_markersize()) for dot in dots for x, y in dot.get_xydata()}  # type: ignore[union-attr]


def test_circles_show_the_scores_at_the_marks_and_only_those_at_equal_compute_have_bars():
    [axes] = draw_task(make_study(), "hellaswag").axes
    assert circles(axes) == {(10, 36, 7), (12, 34, 7), (15, 38, 7)}
    bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    assert [tuple(bar.lines[2][0].get_segments()[0][:, 1].round(6)) for bar in bars] == [(30, 38), (32, 40)]
    assert all(line.get_marker() == "None" for line in axes.lines if len(line.get_xydata()) > 3)  # type: ignore[arg-type]


def test_losses_and_scores_stand_side_by_side_against_steps():
    losses, scores = draw_losses_and_task(make_study(), "hellaswag").axes
    assert losses.get_xlabel() == scores.get_xlabel() == "step" and losses.get_xlim() == scores.get_xlim()
    assert circles(losses) == {(10, 3.9, 7), (7, 4.2, 3.5), (12, 4.0, 7), (15, 3.8, 7)}
    assert {(x, y) for x, y, _ in circles(scores)} == {(10, 36), (12, 34), (15, 38)}
    assert scores.get_ylabel() == "HellaSwag accuracy (%)"


def read_curves(study: StudySummary) -> list[list[float]]:
    """The steps of the lines of the panel of losses."""
    losses, _ = draw_losses_and_task(study, "hellaswag").axes
    lines: list[list[float]] = [np.asarray(line.get_xdata(), dtype=float).tolist() for line in losses.lines]
    return [line for line in lines if len(line) > 2]


def test_published_results_have_lines_of_losses_against_steps():
    compact = encode_compact(make_compact(make_results(batch_tokens=64), points=5))
    curves = read_curves(summarize(Results.from_json(json.loads(compact))))
    assert len(curves) == 4 and all(curve[-1] == 10 for curve in curves)


def test_steps_that_older_published_results_lack_follow_from_the_batch():
    whole = read_curves(make_study(batch_tokens=64))
    assert read_curves(make_study(batch_tokens=64, has_steps=False)) == whole
    unknown = read_curves(make_study(batch_tokens=64, has_steps=False, ramp="0:64,0.5:128"))
    assert len(unknown) == 4 and all(isnan(step) for curve in unknown for step in curve)


def test_the_page_has_bars_at_equal_compute_only():
    traces = task_chart(make_study(), "hellaswag")["traces"]
    lines = [trace for trace in traces if trace["mode"] == "lines"]
    assert [len(trace["x"]) for trace in lines] == [10, 10] and not any("error_y" in trace for trace in lines)
    bars = {(trace["x"][0], trace["y"][0]): trace["error_y"]["array"] for trace in traces if "error_y" in trace}
    assert bars == {(10, 36): [4], (12, 34): [4]}
    assert {trace["x"][0] for trace in traces if trace["mode"] == "markers"} == {10, 12, 15}


def test_a_study_without_steps_is_drawn():
    """As the results of old versions, or of a stranger."""
    tasks = [{"task": "mystery", "step": 1, "value": 2.0}]
    arms = [{"name": "full", "seed": 0, "curve": [{"tokens": 1, "val_loss": 3.0}], "tasks": tasks}]
    study = summarize(Results.from_json({"study": "s", "baseline": "full", "arms": arms}))
    draw_losses_and_task(study, "mystery").canvas.draw()


def test_a_negative_standard_error_is_drawn_as_none():
    content = make_results().to_json()
    for arm in content["arms"]:
        arm["marks"][0]["tasks"]["hellaswag"]["stderr"] = -1
    [axes] = draw_task(summarize(Results.from_json(content)), "hellaswag").axes
    assert circles(axes) == {(10, 36, 7), (12, 34, 7), (15, 38, 7)}

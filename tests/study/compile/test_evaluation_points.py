from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deepen.compute.ledger import Ledger
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.rate import Constant
from deepen.schedule.schedule import Schedule
from deepen.study.compile.evaluation_points import EvaluationPoint, evaluation_points
from deepen.study.compile.pieces import split_schedule
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.train.segment import Segment

MODEL = PRESETS["nano"]


def segment(start: int, end: int, batch_tokens: int) -> Segment:
    """A segment from step `start` to step `end`."""
    phase = Phase(depth=1, tokens=end * batch_tokens, label="", batch_tokens=batch_tokens, context=1)
    [whole] = split_schedule(Schedule(phases=(phase,), rate=Constant()), Ledger(model=MODEL))
    return replace(whole, start=start * batch_tokens)


def evaluation(every: int, task_every: int = 0) -> Evaluation:
    tasks = (TaskFile(task="hellaswag", path=Path("items.jsonl")),)
    return Evaluation(every_tokens=every, validation_tokens=1, tasks=tasks, tasks_every_tokens=task_every)


def test_the_example_of_the_docstring():
    assert evaluation_points(segment(0, 10, 4), evaluation(10, 20), is_mark=True) == (
        EvaluationPoint(tokens=12, tasks=("validation",)),
        EvaluationPoint(tokens=20, tasks=("validation", "hellaswag")),
        EvaluationPoint(tokens=32, tasks=("validation",)),
        EvaluationPoint(tokens=40, tasks=("validation", "validation at the mark", "hellaswag")),
    )


def test_the_end_of_a_segment_is_evaluated_only_at_a_mark_or_on_the_spacing():
    assert evaluation_points(segment(0, 3, 4), evaluation(100, 100), is_mark=False) == ()
    at_mark = EvaluationPoint(tokens=12, tasks=("validation", "validation at the mark", "hellaswag"))
    for task_every in (0, 100):  # 0: at the marks only
        points = evaluation_points(segment(0, 3, 4), evaluation(100, task_every), is_mark=True)
        assert points == (at_mark,)


@given(st.integers(0, 20), st.integers(1, 30), st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
def test_a_point_is_the_first_step_to_reach_a_multiple(
    start: int, steps: int, batch: int, every: int, task_every: int
):
    """Step by step: something is due where the step has reached a multiple that the step before had not."""
    due = {}
    for step in range(start + 1, start + steps + 1):
        tokens = step * batch
        tasks = tuple(
            name
            for name, spacing in (("validation", every), ("hellaswag", task_every))
            if tokens // spacing > (tokens - batch) // spacing
        )
        if tasks:
            due[tokens] = tasks
    points = evaluation_points(segment(start, start + steps, batch), evaluation(every, task_every), is_mark=False)
    assert {point.tokens: point.tasks for point in points} == due
    assert [point.tokens for point in points] == sorted(due)


@given(st.integers(1, 29), st.integers(1, 7), st.integers(1, 40))
def test_a_segment_cut_in_two_is_evaluated_at_the_same_points(cut: int, batch: int, every: int):
    whole, first, second = segment(0, 30, batch), segment(0, cut, batch), segment(cut, 30, batch)
    asked = evaluation(every)
    points = [evaluation_points(each, asked, is_mark=False) for each in (whole, first, second)]
    assert points[0] == points[1] + points[2]

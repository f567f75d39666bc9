"""Where a segment is evaluated: decided when a study is compiled, so that training only follows a list.

The validation loss and each task have a spacing in tokens. Their points are the multiples of the spacing, each
moved up to the next optimizer step. At a mark, everything is evaluated, and the validation loss also on more text
(`Study.mark_tokens`). For example, a segment of 10 steps of 4 tokens that ends in a mark, with the validation loss
every 10 tokens and a task every 20:

    multiples of 10       10   20   30   40
    moved up to steps     12   20   32   40
    evaluated             validation at 12 and 32; validation and the task at 20; both, and more text, at 40
"""

from collections import defaultdict
from dataclasses import dataclass

from deepen.evaluate.task import MARK_VALIDATION, VALIDATION
from deepen.schedule.grid import round_up_to_steps
from deepen.study.define.evaluation import Evaluation
from deepen.train.segment import Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPoint:
    """The evaluations that are due at a number of tokens: names of tasks, or of `LOSSES`."""

    tokens: int
    tasks: tuple[str, ...]


def evaluation_points(segment: Segment, evaluation: Evaluation, *, is_mark: bool) -> tuple[EvaluationPoint, ...]:
    """The points of a segment in order, after its start and up to its end.

    Args:
        segment: the segment.
        evaluation: the spacings.
        is_mark: whether the segment ends in a mark.
    """
    spacings = {VALIDATION: evaluation.every_tokens, MARK_VALIDATION: 0}
    spacings |= {file.task: evaluation.tasks_every_tokens for file in evaluation.tasks}
    due: dict[int, list[str]] = defaultdict(list)
    for name, spacing in spacings.items():
        points = set(_on_steps(segment, spacing)) if spacing else set()
        if is_mark:
            points.add(segment.end)
        for tokens in points:
            due[tokens].append(name)
    return tuple(EvaluationPoint(tokens=tokens, tasks=tuple(due[tokens])) for tokens in sorted(due))


def _on_steps(segment: Segment, spacing: int) -> list[int]:
    """The multiples of `spacing` within a segment, each moved up to the step that reaches it."""
    points = []
    tokens = segment.start
    while (tokens := _step_reaching(segment, (tokens // spacing + 1) * spacing)) <= segment.end:
        points.append(tokens)
    return points


def _step_reaching(segment: Segment, tokens: int) -> int:
    """The end of the first step of a segment that reaches a number of tokens."""
    steps = round_up_to_steps(tokens - segment.start, segment.batch_tokens)
    return segment.start + steps * segment.batch_tokens

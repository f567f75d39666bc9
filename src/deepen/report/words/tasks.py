"""Whether arms differ from the baseline on a task, in sentences: the test that pairs examples and seeds."""

from deepen.report.layout import task_title, task_unit
from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import join, signed

SIGNIFICANT = 0.05
"""A corrected p-value below this counts as a difference."""


def describe_task_tests(study: StudySummary, task: str) -> list[str]:
    """Which arms differ from the baseline on a task, with p-values; empty where no test was made."""
    factor, _ = task_unit(task)
    unit = " points" if factor != 1.0 else ""
    differ: list[str] = []
    others: list[str] = []
    for verdict in study.exact_verdicts:
        test = verdict.task_tests.get(task)
        if test is None or test.difference is None or test.p_holm is None:
            continue
        named = f"{verdict.arm} ({signed(factor * test.difference, 2)}{unit}, p = {test.p_holm:.2g})"
        (differ if test.p_holm < SIGNIFICANT else others).append(named)
    title, sentences = task_title(task), []
    if differ:
        sentences.append(f"{title} differs from {study.baseline_words}’s with {join(differ)}.")
    if others:
        sentences.append(f"{title} cannot be told apart from {study.baseline_words}’s with {join(others)}.")
    return sentences

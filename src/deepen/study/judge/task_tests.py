"""Comparisons of accuracies on the examples of a task, which both arms have answered.

McNemar's test for one seed, and the same over all seeds: an example's differences over seeds go together, so under
the null hypothesis their sum is as likely as its negative. With one seed this is McNemar's exact test.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from deepen.study.judge.paired_runs import Measured
from deepen.study.results.schema import TaskComparison, TaskTest

Pairs = Sequence[tuple[Measured, Measured]]
Key = TypeVar("Key")


def compare_tasks(pairs: Pairs) -> tuple[dict[str, tuple[TaskComparison, ...]], dict[str, TaskTest]]:
    """Compare an arm with the baseline on the tasks that both were scored on, per seed and over seeds.

    Args:
        pairs: the arm and the baseline for each seed.

    Returns:
        The comparisons per seed, and the test over seeds, whose `p_holm` is not corrected yet.
    """
    per_seed: dict[str, list[TaskComparison]] = {}
    differences: dict[str, list[np.ndarray]] = {}
    for arm, base in pairs:
        for task, score in arm.mark.tasks.items():
            against = base.mark.tasks.get(task)
            if against is None or not score.correct or not against.correct:
                continue
            if len(score.correct) != len(against.correct):
                continue
            outcomes = _outcomes(score.correct) - _outcomes(against.correct)
            gain, p = float(outcomes.mean()), sign_flip_p(outcomes)
            per_seed.setdefault(task, []).append(TaskComparison(seed=arm.arm.seed, difference=gain, mcnemar_p=p))
            differences.setdefault(task, []).append(outcomes)
    tests = {
        task: TaskTest(difference=float(np.mean(found)), p=sign_flip_p(np.sum(found, axis=0)), p_holm=None)
        for task, found in differences.items()
        if len(found) == len(pairs) and len({len(outcomes) for outcomes in found}) == 1
    }
    return {task: tuple(found) for task, found in per_seed.items()}, tests


def sign_flip_p(differences: np.ndarray) -> float:
    """The exact two-sided p-value of a sum of whole numbers, if each is as likely as its negative.

    The distribution of the sum is the Fourier transform of its characteristic function, a product of cosines.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    largest = int(sizes @ counts)
    if not largest:
        return 1.0
    angles = 2 * np.pi * np.arange(2 * largest + 1) / (2 * largest + 1)
    characteristic = np.prod(np.cos(np.outer(sizes, angles)) ** counts[:, None], axis=0)
    probabilities = np.fft.fftshift(np.fft.fft(characteristic).real) / len(angles)
    sums = np.arange(-largest, largest + 1)
    return float(min(1.0, probabilities[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Correct p-values so that the chance of any false rejection stays below the level (Holm 1979)."""
    corrected, so_far = {}, 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[key]))
        corrected[key] = so_far
    return corrected


def _outcomes(correct: str) -> np.ndarray:
    """Zeros and ones, as whole numbers, from text."""
    return np.array([outcome == "1" for outcome in correct], dtype=int)

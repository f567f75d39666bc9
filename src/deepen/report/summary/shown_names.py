"""Names as they are shown: at most 60 characters, and still as many different ones as in the results.

Names that would be equal once cut get a number, in the order of the results:

    "growing from three blocks, with the moments of the copied ones kept, stack"
        ->  "growing from three blocks, with the moments of the copied o…"
    "growing from three blocks, with the moments of the copied ones kept, random"
        ->  "growing from three blocks, with the moments of the copie… (2)"
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import TypeVar

from deepen.report.units import MAX_NAME_LENGTH, cut
from deepen.study.results.schema import ArmResult, Results, Verdict
from deepen.study.results.tuning import TuningResult

V = TypeVar("V")


def with_shown_names(results: Results) -> Results:
    """The results with all names of arms and tasks as they are shown; an empty name of an arm is "unnamed"."""
    arms, tasks = shorten_names(_list_arms(results)), shorten_names(_list_tasks(results))
    return replace(
        results,
        arms=tuple(_rename_arm(arm, arms, tasks) for arm in results.arms),
        baseline=arms[results.baseline],
        verdicts=tuple(_rename_verdict(verdict, arms, tasks) for verdict in results.verdicts),
        depth_verdicts=tuple(_rename_verdict(verdict, arms, tasks) for verdict in results.depth_verdicts),
        primary=arms[results.primary] if results.primary else "",
        best_fixed_depth=arms[results.best_fixed_depth] if results.best_fixed_depth else "",
        tuning=_rename_trials(results.tuning, arms) if results.tuning else None,
    )


def shorten_names(names: Iterable[str]) -> dict[str, str]:
    """How each name is shown."""
    given = list(dict.fromkeys(names))
    shown = {name: name for name in given if name and len(name) <= MAX_NAME_LENGTH}
    taken = set(shown)
    for name in given:
        if name not in shown:
            shown[name] = next(each for each in _cut_names(name or "unnamed") if each not in taken)
            taken.add(shown[name])
    return shown


def _cut_names(name: str) -> Iterator[str]:
    """A name cut, and then with one number after another."""
    yield cut(name, MAX_NAME_LENGTH)
    for number in count(2):
        suffix = f" ({number})"
        yield cut(name, MAX_NAME_LENGTH - len(suffix)) + suffix


def _list_arms(results: Results) -> Iterator[str]:
    """The names of arms, wherever they are."""
    yield from (arm.name for arm in results.arms)
    yield from (results.baseline, results.primary, results.best_fixed_depth)
    for verdict in (*results.verdicts, *results.depth_verdicts):
        yield from (verdict.arm, verdict.baseline)
        yield from chain(verdict.depths_beaten, verdict.depths_not_beaten)
        yield from chain(verdict.depths_better, verdict.depths_at_edge)
    if results.tuning:
        yield from (arm.name for arm in results.tuning.arms)
        yield from (best.arm for best in results.tuning.best_depths)


def _list_tasks(results: Results) -> Iterator[str]:
    for arm in results.arms:
        yield from (result.task for result in arm.tasks if result.task)
        yield from (task for mark in arm.marks for task in mark.tasks)
    yield from (task for verdict in (*results.verdicts, *results.depth_verdicts) for task in verdict.task_tests)


def _rename_arm(arm: ArmResult, arms: Mapping[str, str], tasks: Mapping[str, str]) -> ArmResult:
    return replace(
        arm,
        name=arms[arm.name],
        marks=tuple(replace(mark, tasks=_rename_keys(mark.tasks, tasks)) for mark in arm.marks),
        tasks=tuple(replace(result, task=tasks[result.task] if result.task else "") for result in arm.tasks),
    )


def _rename_verdict(verdict: Verdict, arms: Mapping[str, str], tasks: Mapping[str, str]) -> Verdict:
    return replace(
        verdict,
        arm=arms[verdict.arm],
        baseline=arms[verdict.baseline],
        depths_beaten=tuple(map(arms.__getitem__, verdict.depths_beaten)),
        depths_not_beaten=tuple(map(arms.__getitem__, verdict.depths_not_beaten)),
        depths_better=tuple(map(arms.__getitem__, verdict.depths_better)),
        depths_at_edge=tuple(map(arms.__getitem__, verdict.depths_at_edge)),
        task_tests=_rename_keys(verdict.task_tests, tasks),
    )


def _rename_trials(tuning: TuningResult, arms: Mapping[str, str]) -> TuningResult:
    return replace(
        tuning,
        arms=tuple(replace(arm, name=arms[arm.name]) for arm in tuning.arms),
        best_depths=tuple(replace(best, arm=arms[best.arm]) for best in tuning.best_depths),
    )


def _rename_keys(values: Mapping[str, V], names: Mapping[str, str]) -> dict[str, V]:
    return {names[name]: value for name, value in values.items()}

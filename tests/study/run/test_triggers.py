"""Triggers: a study that is extended because of its results."""

import itertools
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

import deepen
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.schema import Results
from deepen.study.run.errors import Interrupted
from deepen.study.run.progress import Preparation, StudyProgress
from leftovers import differences, read_files

HERE = ExecutorChoice(jobs=1, threads=1)


def measure_beyond(study: Study, results: Results) -> Study | None:
    """Measure the baseline at 1.5 times the budget too, if it learned anything up to its end."""
    curve = next(arm.curve for arm in results.arms if arm.name == study.baseline)
    is_learning = curve[-1].val_loss < curve[0].val_loss
    return replace(study, anchors=(*study.anchors, 1.5)) if is_learning and 1.5 not in study.anchors else None


@pytest.mark.slow
def test_a_trigger_asks_for_more_and_nothing_is_trained_twice(study: Study, tmp_path: Path):
    progress: list[tuple[int, int]] = []

    def record(reported: StudyProgress | Preparation) -> None:
        if isinstance(reported, StudyProgress):
            progress.append((reported.flops, reported.flops_total))

    results = deepen.run(
        study,
        tmp_path,
        executor=HERE,
        report=False,
        triggers=(measure_beyond,),
        on_progress=record,
    )
    shares = {mark.budget_share for arm in results.arms if arm.name == "full" for mark in arm.marks}
    assert shares == {1.0, 1.5}
    first_total, last_total = progress[0][1], progress[-1][1]
    assert last_total > first_total
    assert (first_total, last_total) in progress  # the second pass begins with all that the first trained


@pytest.mark.slow
def test_an_interrupted_run_with_a_trigger_ends_as_an_undisturbed_one(study: Study, tmp_path: Path):
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    deepen.run(study, undisturbed, executor=HERE, report=False, triggers=(measure_beyond,))

    steps = itertools.count(1)

    def interrupt_in_the_third(*_: object) -> None:
        if next(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    larger = replace(study, anchors=(1.0, 1.5))
    hook = register_optimizer_step_post_hook(interrupt_in_the_third)
    try:
        with pytest.raises(Interrupted):
            deepen.run(larger, stopped, executor=HERE, report=False)
    finally:
        hook.remove()
    for _ in range(2):  # the folder holds the larger study; the smaller one is named again
        deepen.run(study, stopped, executor=HERE, report=False, triggers=(measure_beyond,))
        assert differences(stopped, read_files(undisturbed)) == {}

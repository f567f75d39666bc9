"""Progress from inside segments, wherever they are trained."""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from deepen.data.shards import Dataset
from deepen.study.compile.tree import compile_study
from deepen.study.define.executor import local
from deepen.study.define.study import Study
from deepen.study.run import worker
from deepen.study.run.job import make_jobs
from deepen.study.run.progress import Preparation, StudyProgress
from deepen.study.run.ready_queue import training_flops
from deepen.study.run.run_study import hash_inputs
from deepen.study.run.scheduler import find_pending
from deepen.study.run.watcher import Watcher
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store
from processes import polls
from workers import BATCH, STEPS, in_mid_segment, meanwhile

Reported = list[StudyProgress]


def recorder(reported: Reported) -> Callable[[StudyProgress | Preparation], None]:
    def record(progress: StudyProgress | Preparation) -> None:
        if isinstance(progress, StudyProgress):
            reported.append(progress)

    return record


def wait_for(happened: Callable[[], bool]) -> None:
    next(_ for _ in polls() if happened())


def test_a_running_segment_is_as_far_as_its_log(study: Study, dataset: Dataset, tmp_path: Path):
    tree, store = compile_study(study, dataset.fingerprint), Store(tmp_path)
    inputs = hash_inputs(study, dataset)
    store.open(study, inputs)
    jobs = make_jobs(tree, dataset, tmp_path, inputs["tasks"])
    pending, reported = find_pending(tree, store), Reported()
    node = next(node for node in pending if node.segment.end == STEPS * BATCH and node.parent is None)
    folder, total = store.segment(node.key), sum(map(training_flops, tree.nodes.values()))

    def stop_after_seven_steps() -> bool:
        return len(folder.lines("metrics")) == 7

    with pytest.MonkeyPatch.context() as patch, Watcher(tree, store, pending, recorder(reported)) as watcher:
        patch.setattr(worker, "LOG_EVERY_SECONDS", 0.0)
        watcher.begin(node)
        assert not train_segment(jobs[node.key], stop_after_seven_steps)
        watcher.report()
        watcher.end(node, finished=False)
    first, *_, inside, last = reported
    assert (first.flops, first.flops_total, first.runs_done, first.runs_total) == (0, total, 0, 2)
    assert first.running == () and last.running == ()
    [segment] = inside.running
    line = folder.lines("metrics")[-1]
    assert (segment.arms, segment.seed, segment.depth) == (("full",), 0, 2)
    assert (segment.step, segment.steps, segment.loss) == (7, STEPS, line["loss"])
    assert segment.tokens_per_second is not None and segment.tokens_per_second > 0
    assert inside.flops == last.flops == line["flops"] == 7 * node.segment.flops_per_step

    again = Reported()
    with Watcher(tree, store, find_pending(tree, store), recorder(again)) as watcher:
        watcher.begin(node)
        watcher.report()
    assert again[0].flops == again[1].flops == last.flops  # what a stopped run has trained is not lost
    [segment] = again[1].running
    assert (segment.step, segment.loss) == (7, None)  # until its new worker has trained a step


def test_a_segment_shared_by_arms_names_them_all(study: Study, dataset: Dataset, tmp_path: Path):
    study = replace(study, arms=(*study.arms, replace(study.arms[0], name="the same")))
    tree, reported = compile_study(study, dataset.fingerprint), Reported()
    node = next(iter(tree.nodes.values()))
    with Watcher(tree, Store(tmp_path), [node], recorder(reported)) as watcher:
        watcher.begin(node)
        watcher.report()
    assert reported[-1].running[0].arms == ("full", "the same") and reported[-1].runs_total == 3


def test_a_damaged_log_does_not_end_training(study: Study, dataset: Dataset, tmp_path: Path):
    tree, store, reported = compile_study(study, dataset.fingerprint), Store(tmp_path), Reported()
    node = next(iter(tree.nodes.values()))
    with Watcher(tree, store, [node], recorder(reported)) as watcher:
        watcher.begin(node)
        folder = store.segment(node.key).folder
        folder.mkdir(parents=True)
        for damaged in (
            b'{"tokens": 32}\n',
            b"\xff\n[1]\nnull\n",
            b'{"tokens": 32, "loss": 1.0, "seconds": "x"}\n',
        ):
            (folder / "metrics.jsonl").write_bytes(damaged)
            watcher.report()
        watcher.end(node, finished=False)
    assert reported[-1].flops == reported[0].flops


def test_steps_reach_the_log_while_others_are_trained(study: Study, dataset: Dataset, tmp_path: Path):
    """Without waiting for the next evaluation, which may be hours away."""
    study = replace(study, evaluation=replace(study.evaluation, every_tokens=STEPS * BATCH))
    tree, store, inputs = compile_study(study, dataset.fingerprint), Store(tmp_path), hash_inputs(study, dataset)
    store.open(study, inputs)
    node = next(iter(tree.nodes.values()))
    seen = list[int]()

    def see() -> bool:
        seen.append(len(store.segment(node.key).last_lines("metrics")))
        return len(seen) > 3

    train_segment(make_jobs(tree, dataset, tmp_path, inputs["tasks"])[node.key], see)
    assert seen[:2] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_comes_from_inside_segments_on_every_executor(
    jobs: int, study: Study, run_study: Callable[..., Any], tmp_path: Path
):
    reported, steps = Reported(), count()

    def is_inside() -> bool:
        return any(0 < segment.step < segment.steps for progress in reported for segment in progress.running)

    def hold_this_process(*_: Any) -> None:
        if next(steps) == 1:
            wait_for(is_inside)

    def hold_worker() -> None:
        _, process = next(in_mid_segment(tmp_path))
        os.kill(process, signal.SIGSTOP)
        try:
            wait_for(is_inside)
        finally:
            os.kill(process, signal.SIGCONT)

    hook = register_optimizer_step_post_hook(hold_this_process)
    try:
        with nullcontext() if jobs == 1 else meanwhile(hold_worker):
            run_study(study, tmp_path, executor=local(jobs), on_progress=recorder(reported))
    finally:
        hook.remove()
    assert [progress.flops for progress in reported] == sorted(progress.flops for progress in reported)
    assert (reported[0].share, reported[-1].share) == (0.0, 1.0)
    assert reported[-1].runs_done == reported[-1].runs_total == 2


def test_an_error_of_on_progress_is_logged_once_and_ends_nothing(
    study: Study, run_study: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def fail(progress: StudyProgress | Preparation) -> None:
        raise RuntimeError("no screen")

    small = replace(study, tokens=8 * BATCH, arms=study.arms[:1])
    run_study(small, tmp_path, on_progress=fail)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings == ["warning: on_progress failed (RuntimeError: no screen); training continues"]

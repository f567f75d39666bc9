"""The results collected from the logs of a trained study."""

import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen import durable
from deepen.data.shards import Dataset
from deepen.report import draw_report
from deepen.schedule.rate import Constant
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.study import Arm, Study
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.collect import collect
from deepen.study.results.schema import Results
from deepen.study.results.seconds import seconds_factor
from deepen.study.results.validation_text import block_means
from deepen.study.store.study_folder import Store
from deepen.train.device import machine_name

STEPS, BATCH = 24, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collected")


@pytest.fixture
def tree(make_study: Callable[..., Study], dataset: Dataset, folder: Path) -> Tree:
    items = [{"ctx": "The Congress", "endings": ["met.", "ran away"], "label": k % 2} for k in range(4)]
    task = folder / "hellaswag.jsonl"
    task.write_text("".join(json.dumps(item) + "\n" for item in items))
    study = make_study(
        tokens=STEPS * BATCH,
        anchors=(1.0,),
        arms=(
            Arm(name="full", recipe="full"),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6}),
            Arm(name="small", recipe="small", options={"start_depth": 6}),
        ),
        evaluation=Evaluation(
            every_tokens=8 * BATCH,
            validation_tokens=64,
            tasks=(TaskFile(task="hellaswag", path=task),),
            tasks_every_tokens=16 * BATCH,
        ),
    )
    return compile_study(study, dataset.fingerprint)


@pytest.fixture
def results(tree: Tree, dataset: Dataset, folder: Path, run_study: Callable[..., dict[str, Any]]) -> Results:
    """Trained once for this module."""
    run_study(tree.study, folder / "study")
    return collect(tree, Store(folder / "study"), dataset, machine="here", wall_seconds=2.0)


@pytest.mark.slow
def test_a_curve_has_a_point_for_each_validation_and_the_mean_loss_between(results: Results, folder: Path):
    full, one_shot, _ = results.arms
    assert [point.step for point in full.curve] == [8, 16, 24]
    assert (one_shot.curve[0].depth, one_shot.curve[0].phase) == (6, "shallow")
    assert (one_shot.curve[-1].depth, one_shot.curve[-1].phase) == (12, "full depth")
    logs = [folder / "study" / "segments" / key / "metrics.jsonl" for key in full.segments]
    losses = [json.loads(line)["loss"] for log in logs for line in log.read_text().splitlines()]
    for i, point in enumerate(full.curve):
        assert point.train_loss == pytest.approx(sum(losses[8 * i : 8 * i + 8]) / 8)


def test_a_mark_has_the_loss_of_more_text_than_the_curve_and_its_tasks(results: Results, folder: Path):
    """The text of the curve's points is the beginning of the mark's, which is as long as the first budget here."""
    for arm in results.arms:
        [mark] = arm.marks
        evals = folder / "study" / "segments" / arm.segments[-1] / "evals.jsonl"
        lines = [json.loads(line) for line in evals.read_text().splitlines()]
        [windows] = [line["windows"] for line in lines if "windows" in line]
        assert mark.val_tokens == 16 * len(windows) == STEPS * BATCH == results.regime.data.mark_tokens
        assert mark.val_loss == pytest.approx(sum(windows) / len(windows), abs=1e-6)
        assert mark.tokens == arm.curve[-1].tokens
        assert arm.curve[-1].val_loss == pytest.approx(sum(windows[:4]) / 4, abs=1e-6)
        assert mark.val_blocks == block_means(windows) and len(mark.val_blocks) == 3
        assert mark.val_stderr == pytest.approx(statistics.stdev(mark.val_blocks) / 3**0.5)
        assert mark.annealed and mark.budget_share == 1.0
        score, last = mark.tasks["hellaswag"], arm.tasks[-1]
        assert (score.value, score.n, last.tokens) == (last.value, 4, mark.tokens)
        assert score.correct is not None and score.correct.count("1") / 4 == score.value
        assert [each.step for each in arm.tasks[:1]] == [16]


def test_arms_have_their_role_and_the_regime_has_its_inputs(results: Results, dataset: Dataset, tree: Tree):
    assert [arm.is_control for arm in results.arms] == [False, False, True]
    regime = results.regime
    assert (regime.model, regime.depth, regime.machine, regime.wall_seconds) == ("test", 12, "here", 2.0)
    assert regime.data.fingerprint == dataset.fingerprint
    assert regime.data.tokenizer_sha256 == dataset.tokenizer_sha256
    assert regime.task_files == {"hellaswag": tree.study.evaluation.tasks[0].sha256}


def test_runs_are_priced_in_the_seconds_that_their_steps_took(results: Results):
    assert results.regime.device == machine_name()
    full, _, small = (arm.marks[0] for arm in results.arms)
    assert full.steady_seconds is not None and full.steady_seconds > 0
    factor = seconds_factor([small], [full])
    assert factor is not None and small.steady_seconds is not None
    assert factor * small.steady_seconds / small.flops == pytest.approx(full.steady_seconds / full.flops)


def test_no_run_is_priced_in_seconds_where_two_devices_trained(
    results: Results, tree: Tree, dataset: Dataset, folder: Path, tmp_path: Path
):
    shutil.copytree(folder / "study", tmp_path / "moved")
    path = tmp_path / "moved" / "segments" / results.arms[0].segments[-1] / "done.json"
    durable.write_json(path, (durable.read_json(path) or {}) | {"device": "another"})
    moved = collect(tree, Store(tmp_path / "moved"), dataset, machine="here", wall_seconds=2.0)
    assert moved.regime.device == "" and {mark.steady_seconds for arm in moved.arms for mark in arm.marks} == {
        None
    }


def test_shared_segments_are_counted_once(tree: Tree, dataset: Dataset, results: Results, folder: Path):
    """`one-shot` and `small` begin with the same steps at depth 6."""
    one_shot, small = results.arms[1:]
    assert one_shot.segments[0] == small.segments[0]
    separate = sum(mark.tokens for arm in results.arms for mark in arm.marks)
    assert results.sharing.tokens_if_separate == separate
    assert results.sharing.tokens_trained is not None and results.sharing.tokens_trained < separate


def test_results_pass_through_json_unchanged(results: Results):
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def stop_at(step: int, folder: Path, target: Path) -> Store:
    """A copy of a trained study as it was when every run was at a step."""
    shutil.copytree(folder / "study", target)
    for segment in (target / "segments").iterdir():
        for log in segment.glob("*.jsonl"):
            lines = log.read_text().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            log.write_text("".join(kept))
            if kept != lines:
                (segment / "done.json").unlink(missing_ok=True)
    return Store(target)


def test_an_unfinished_arm_has_its_curve_as_far_as_it_is_trained(
    results: Results, tree: Tree, dataset: Dataset, folder: Path, tmp_path: Path
):
    store = stop_at(20, folder, tmp_path / "stopped")
    stopped = with_verdicts(collect(tree, store, dataset, machine="here", wall_seconds=2.0))
    assert stopped.verdicts == ()
    for arm, finished in zip(stopped.arms, results.arms, strict=True):
        validated = [point for point in finished.curve if point.step is not None and point.step <= 20]
        assert arm.curve[: len(validated)] == tuple(validated) and arm.marks == ()
        tail = arm.curve[len(validated) :]
        assert tail[-1].step == 20 and all(point.val_loss is None and point.train_loss for point in tail)
        assert all(task in finished.tasks for task in arm.tasks)
        assert arm.segments == finished.segments[: len(arm.segments)]
    full = stopped.arms[0]
    assert [point.step for point in full.curve] == [8, 16, 20] and len(full.tasks) == 1
    assert full.trained_share == pytest.approx(20 / 24)
    assert stopped.trained_share is not None and 0 < stopped.trained_share < 1


def test_training_losses_are_shown_before_the_first_validation(
    results: Results, tree: Tree, dataset: Dataset, folder: Path, tmp_path: Path
):
    store = stop_at(7, folder, tmp_path / "stopped")
    full = collect(tree, store, dataset, machine="here", wall_seconds=2.0).arms[0]
    assert [point.step for point in full.curve] == [1, 2, 3, 4, 5, 6, 7]
    assert all(point.train_loss is not None and point.val_loss is None for point in full.curve)
    assert draw_report(collect(tree, store, dataset, machine="here", wall_seconds=2.0), tmp_path).exists()


def test_a_finished_study_is_trained_in_full(results: Results):
    assert results.trained_share == 1 and all(arm.trained_share == 1 for arm in results.arms)


def test_an_arm_that_is_not_trained_yet_is_collected_without_points(
    results: Results, tree: Tree, dataset: Dataset, folder: Path
):
    later = Arm(name="later", recipe="small", options={"start_depth": 3})
    larger = compile_study(replace(tree.study, arms=(*tree.study.arms, later)), dataset.fingerprint)
    partial = collect(larger, Store(folder / "study"), dataset, machine="here", wall_seconds=2.0)
    assert partial.arms[:3] == results.arms
    untrained = partial.arms[3]
    assert untrained.segments == untrained.curve == untrained.marks == untrained.tasks == ()
    assert untrained.trained_share == 0 and partial.trained_share is not None and 0 < partial.trained_share < 1


def test_a_segment_that_an_added_arm_cuts_after_its_last_step_counts_as_untrained(
    make_study: Callable[..., Study], dataset: Dataset, tmp_path: Path
):
    """Its folder is now that of the rest, and its log ends before that begins."""
    small = Arm(name="small", recipe="small", options={"start_depth": 6})
    one_shot = Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6})
    rest = {"tokens": STEPS * BATCH, "anchors": (1.0,), "baseline": "small", "rate": Constant(peak=1e-3)}
    tree, store = compile_study(make_study(arms=(small,), **rest), dataset.fingerprint), Store(tmp_path)
    [node] = tree.nodes.values()
    position = {"step": 1, "tokens": BATCH, "flops": node.segment.flops_per_step, "seconds": 1.0}
    store.segment(node.key).open(node)
    store.segment(node.key).append("metrics", [{**position, "loss": 5.0, "lr": 1e-3, "depth": 6}])
    alone = collect(tree, store, dataset, machine="here", wall_seconds=2.0)
    assert alone.trained_share == alone.arms[0].trained_share == pytest.approx(1 / node.segment.steps)
    larger = compile_study(make_study(arms=(small, one_shot), **rest), dataset.fingerprint)
    assert larger.nodes[node.key].segment.start > BATCH
    cut = collect(larger, store, dataset, machine="here", wall_seconds=2.0)
    assert cut.trained_share == cut.arms[0].trained_share == 0 and cut.arms[0].segments == ()


@pytest.mark.slow
def test_depth_is_the_number_of_executed_layers_everywhere(
    make_study: Callable[..., Study], dataset: Dataset, tmp_path: Path, run_study: Callable[..., dict[str, Any]]
):
    arms = (Arm(name="loop-untie", recipe="loop-untie"),)
    study = make_study(tokens=STEPS * BATCH, anchors=(1.0,), arms=arms, baseline="loop-untie")
    results = run_study(study, tmp_path / "study")
    [arm] = results["arms"]
    [growth] = arm["growths"]
    assert (growth["depth_before"], growth["depth_after"]) == (12, 12)
    assert (growth["blocks_before"], growth["blocks_after"]) == (8, 12)
    assert {point["depth"] for point in arm["curve"]} == {12}
    store = Store(tmp_path / "study")
    assert {line["depth"] for key in arm["segments"] for line in store.segment(key).lines("metrics")} == {12}

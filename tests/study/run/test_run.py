"""Whole studies: trained, interrupted, continued, extended, in real processes."""

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compare import without_times
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.schedule.recipes import RECIPES
from deepen.study.compile.tree import compile_study, find_trunk
from deepen.study.define.executor import local
from deepen.study.define.study import Arm, Study
from deepen.study.run.scheduler import find_pending
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.state import initial_state
from processes import wait_until

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished") / "study"


@pytest.fixture
def results(make_study: Callable[..., Study], run_study: Run, finished: Path) -> dict[str, Any]:
    """The study of conftest with two seeds, trained once for this module."""
    return run_study(make_study(seeds=(0, 1)), finished)


def test_results_have_the_promised_content(results: dict[str, Any], make_study: Callable[..., Study]):
    study = make_study()
    assert len(results["arms"]) == 2 * len(study.arms)
    for arm in results["arms"]:
        assert arm["segments"] and arm["peak_memory_bytes"] > 0
        for point in arm["curve"]:
            assert {"tokens", "flops", "seconds", "train_loss", "val_loss"} <= point.keys()
        tokens = [point["tokens"] for point in arm["curve"]]
        assert tokens == sorted(set(tokens)) and len(tokens) >= 3
        assert all(mark["annealed"] and mark["val_loss"] > 0 for mark in arm["marks"])
    verdicts = {(v["arm"], v["accounting"]) for v in results["verdicts"]}
    paper = {(f"two-phase S={stages}", a) for stages in (4, 8, 12) for a in ("flops", "paper")}
    assert verdicts == paper | {(name, "flops") for name in ("staged S=4", "one-shot", "small")}
    for verdict in results["verdicts"]:
        low, high = verdict["interval"]
        assert verdict["n_seeds"] == 2 and low < verdict["difference"] < high
    assert 0 < results["sharing"]["tokens_trained"] < results["sharing"]["tokens_if_separate"]


def test_arms_are_compared_at_equal_flops(results: dict[str, Any]):
    marks = [
        m
        for arm in results["arms"]
        for m in arm["marks"]
        if (m["accounting"], m["budget_share"]) == ("flops", 1.0)
    ]
    assert len(marks) == 14
    for mark in marks:
        assert mark["flops"] == pytest.approx(mark["budget_flops"], rel=0.015)  # a step is 1/48 of the run


def test_metrics_have_every_step_once_with_the_ledgers_flops(results: dict[str, Any], finished: Path):
    for arm in results["arms"]:
        lines = [
            json.loads(line)
            for key in arm["segments"]
            for line in (finished / "segments" / key / "metrics.jsonl").read_text().splitlines()
        ]
        assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
        assert {"step", "tokens", "loss", "lr", "grad_norm", "flops", "seconds", "depth", "phase"} <= lines[
            0
        ].keys()
        final = max(arm["marks"], key=lambda mark: mark["tokens"])
        assert lines[-1]["flops"] == final["flops"] and lines[-1]["tokens"] == final["tokens"]


def test_a_finished_study_trains_nothing_and_has_the_same_results(
    results: dict[str, Any], make_study: Callable[..., Study], run_study: Run, finished: Path, dataset: Dataset
):
    study = make_study(seeds=(0, 1))
    assert find_pending(compile_study(study, dataset.fingerprint), Store(finished)) == []
    before = {path: path.stat().st_mtime_ns for path in (finished / "segments").rglob("*")}
    assert run_study(study, finished) == results
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "segments").rglob("*")}


def test_states_are_kept_at_the_marks_and_where_a_larger_budget_continues(
    results: dict[str, Any], finished: Path, make_study: Callable[..., Study], dataset: Dataset
):
    tree = compile_study(make_study(seeds=(0, 1)), dataset.fingerprint)
    kept = {path.parent.name for path in (finished / "segments").glob("*/state")}
    assert kept == tree.mark_keys | find_trunk(tree)


def test_the_tokenizer_travels_with_the_run(finished: Path, dataset: Dataset):
    copy = load_tokenizer(finished / "tokenizer")
    assert (
        copy.sha256 == dataset.tokenizer_sha256 == Store(finished).recorded("inputs")["data"]["tokenizer_sha256"]
    )


def test_two_processes_give_the_same_results_as_one(
    results: dict[str, Any], make_study: Callable[..., Study], run_study: Run, tmp_path: Path
):
    parallel = run_study(make_study(seeds=(0, 1)), tmp_path / "study", executor=local(2))
    assert without_times(parallel) == without_times(results)


def test_more_seeds_and_arms_can_be_added(
    results: dict[str, Any], make_study: Callable[..., Study], run_study: Run, tmp_path: Path
):
    small = make_study(arms=make_study().arms[:2])
    run_study(small, tmp_path / "study")
    grown = run_study(make_study(seeds=(0, 1)), tmp_path / "study")
    assert without_times(grown) == without_times(results)


def test_two_phase_with_one_stage_equals_full_to_the_bit(
    make_study: Callable[..., Study], run_study: Run, tmp_path: Path
):
    outcomes = []
    for arm in (Arm(name="arm", recipe="full"), Arm(name="arm", recipe="two-phase", options={"stages": 1})):
        folder = tmp_path / arm.recipe
        study = make_study(arms=(arm,), anchors=(1.0,), accountings=("flops",), baseline="arm")
        key = run_study(study, folder)["arms"][0]["segments"][-1]
        outcomes.append(Store(folder).segment(key).state())
    one, other = outcomes
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(torch.equal(t, other.moments[n][k]) for n, kept in one.moments.items() for k, t in kept.items())


def test_a_study_of_every_recipe_from_fresh_weights_on_a_llama_ends_in_verdicts(
    make_study: Callable[..., Study], run_study: Run, llama: ModelConfig, tmp_path: Path
):
    options = {"two-phase": {"stages": 2, "scope": "new-blocks-head"}, "staged": {"stages": 2}}
    recipes = [name for name, recipe in RECIPES.items() if not recipe.needs_checkpoint]
    arms = tuple(Arm(name=recipe, recipe=recipe, options=options.get(recipe, {})) for recipe in recipes)
    study = make_study(model=replace(llama, depth=4), arms=arms, tokens=16 * 32, anchors=(1.0,))
    results = run_study(study, tmp_path / "study")
    verdicts = {(v["arm"], v["accounting"]): v["difference"] for v in results["verdicts"]}
    expected = {(recipe, "flops") for recipe in recipes if recipe != "full"} | {("two-phase", "paper")}
    assert verdicts.keys() == expected
    assert all(math.isfinite(difference) and difference != 0 for difference in verdicts.values())
    marks = [mark for arm in results["arms"] for mark in arm["marks"] if mark["accounting"] == "flops"]
    assert all(
        m["flops"] == pytest.approx(m["budget_flops"], rel=0.04) for m in marks
    )  # a step is 1/16 of the run


def test_other_settings_are_refused_in_the_same_folder(
    results: dict[str, Any], make_study: Callable[..., Study], finished: Path, tmp_path: Path
):
    study = make_study(seeds=(0, 1))
    Store(finished).check(study)
    with pytest.raises(StoreError, match="rate"):
        Store(finished).check(replace(study, rate=replace(study.rate, peak=1.0)))
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(StoreError, match="something else"):
        Store(tmp_path).check(study)


def test_a_lock_has_one_holder_and_is_released_when_it_dies(tmp_path: Path):
    code = f"""
import time
from pathlib import Path
from deepen.study.store.study_folder import Store
with Store(Path({str(tmp_path)!r})).lock():
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"process {holder.pid}"), Store(tmp_path).lock():
        pass
    holder.kill()
    holder.wait()
    with Store(tmp_path).lock():
        pass


def test_arms_seeds_and_anchors_cannot_be_left_out(
    results: dict[str, Any], make_study: Callable[..., Study], finished: Path
):
    for fewer in (
        make_study(seeds=(0,)),
        make_study(seeds=(0, 1), anchors=(1.0,)),
        make_study(arms=make_study().arms[:3]),
    ):
        with pytest.raises(StoreError, match="more of it"):
            Store(finished).check(fewer)


def test_a_segment_that_becomes_a_mark_later_is_measured(
    make_study: Callable[..., Study], run_study: Run, tmp_path: Path
):
    """The segment was trained before the mark was added, so its evaluation is missing."""
    lr, anchors = Constant(peak=1e-3), (1.0,)
    one_shot = Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6})
    study = make_study(arms=(one_shot,), baseline="one-shot", rate=lr, anchors=anchors)
    results = run_study(study, tmp_path / "study")
    tree = compile_study(study, results["regime"]["data"]["fingerprint"])
    last = tree.nodes[tree.routes[0].keys[-1]]
    evals = Store(tmp_path / "study").segment(last.key).folder / "evals.jsonl"
    lines = [line for line in evals.read_text().splitlines() if json.loads(line)["tokens"] != last.segment.end]
    evals.write_text("".join(line + "\n" for line in lines))
    assert without_times(run_study(study, tmp_path / "study")) == without_times(results)


def test_a_damaged_parent_is_trained_again(
    make_study: Callable[..., Study], run_study: Run, tmp_path: Path, dataset: Dataset
):
    arms = make_study().arms[:1]
    whole = run_study(make_study(arms=arms, anchors=(0.7, 1.0)), tmp_path / "whole")
    run_study(make_study(arms=arms, anchors=(1.0,)), tmp_path / "study")
    study = make_study(arms=arms, anchors=(0.7, 1.0))
    tree, store = compile_study(study, dataset.fingerprint), Store(tmp_path / "study")
    for key in tree.nodes:
        for file in (store.segment(key).folder / "state").glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    results = run_study(study, tmp_path / "study", verify=True)
    assert without_times(results["arms"][0]["marks"]) == without_times(whole["arms"][0]["marks"])


def test_training_does_not_continue_from_a_partial_state_beyond_a_new_cut(
    make_study: Callable[..., Study], run_study: Run, tmp_path: Path, dataset: Dataset
):
    """A mark added while a segment was half trained: the cut falls before, at, or after the partial state."""
    few, more = (make_study(arms=make_study().arms[:1], anchors=anchors) for anchors in ((1.0,), (0.7, 1.0, 1.4)))
    reference = run_study(more, tmp_path / "reference")
    tree, store = compile_study(few, dataset.fingerprint), Store(tmp_path / "study")
    store.open(few, {})
    batches = Batches(dataset.tokens("train"), few.context, seed=0)
    state = None
    for node in tree.nodes.values():
        state = begin_segment(state or initial_state(few.model, 12, 0), node.segment, few.model)
        engine = Engine(state, node.segment, few.model, batches, few.settings, SingleProcess(torch.device("cpu")))
        engine.run(node.segment.start + 64, lambda *_: None)
        store.segment(node.key).open(node)
        store.segment(node.key).save(engine.state())
        engine.run(node.segment.end, lambda *_: None)
        state = engine.state()
    results = run_study(more, tmp_path / "study")
    ended, expected = ([m["val_loss"] for m in r["arms"][0]["marks"]] for r in (results, reference))
    assert ended == expected


ARGUMENTS = [
    "train",
    "two-phase",
    "--model",
    "nano",
    "--stages",
    "4",
    "--seed",
    "3",
    "--steps",
    "60",
    "--batch-tokens",
    "128",
]


def start(arguments: list[str], out: Path, data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deepen", *arguments, "--out", str(out), "--data", str(data)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    process = start(ARGUMENTS, out, dataset.folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return without_times(json.loads((out / "results.json").read_text()))


def seconds_to_wait() -> Iterator[float]:
    draw = random.Random(0)
    while True:
        yield draw.uniform(0.0, 1.2)


@pytest.mark.parametrize("how", [(signal.SIGKILL,), (signal.SIGINT, signal.SIGTERM)], ids=["killed", "asked"])
def test_a_run_stopped_repeatedly_ends_as_if_undisturbed(
    how: tuple[signal.Signals, ...], undisturbed: dict[str, Any], tmp_path: Path, dataset: Dataset
):
    out, stopped, signals = tmp_path / "run", 0, how * 4
    for wait in seconds_to_wait():
        process = start(ARGUMENTS, out, dataset.folder)
        wait_until(lambda: any(out.glob("segments/*/metrics.jsonl")), process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait + 1.5 * (stopped > 0))
        if process.poll() is None and stopped < 4:
            process.send_signal(signals[stopped])
            stopped += 1
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        if signal.SIGKILL in how:
            assert process.returncode == -signal.SIGKILL, errors
        else:
            assert process.returncode == 130 and "same command continues" in errors, errors
        assert "Traceback" not in errors
    assert stopped > 0
    assert without_times(json.loads((out / "results.json").read_text())) == undisturbed


def _logs(out: Path) -> list[tuple[Path, str]]:
    return [(log, log.read_text()) for log in out.glob("segments/*/metrics.jsonl")]


def test_a_study_in_two_processes_survives_a_kill(
    results: dict[str, Any], make_study: Callable[..., Study], tmp_path: Path, dataset: Dataset
):
    """The orphans of a killed study end by themselves, and the study continues."""
    file = tmp_path / "kill.py"
    file.write_text(
        "from deepen import WSD, Arm, Evaluation, ModelConfig, Study\n"
        "model = ModelConfig(name='test', depth=12, width=8, heads=2, context=16, vocab=512)\n"
        "arms = (Arm(name='full', recipe='full'), Arm(name='small', recipe='small'))\n"
        "evaluation = Evaluation(every_tokens=512, validation_tokens=512)\n"
        "study = Study(name='kill', model=model, tokens=320000, batch_tokens=32, context=16, arms=arms,\n"
        f"    evaluation=evaluation, rate=WSD(peak=8e-3), data={str(dataset.folder)!r})\n"
    )
    out = tmp_path / "run"
    process = start(["study", str(file), "--jobs", "2"], out, dataset.folder)
    wait_until(lambda: any(out.glob("segments/*/metrics.jsonl")), process)
    process.kill()
    process.communicate(timeout=60)  # the orphans hold its pipes: this returns once they have ended
    left = dict(_logs(out))
    second = start(["study", str(file), "--jobs", "2"], out, dataset.folder)
    # It is training as soon as a log differs, since it truncates the logs first.
    wait_until(lambda: any(text != left.get(log) and text for log, text in _logs(out)), second)
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 130 and "same command continues" in errors, errors
    trained = 0
    for log in out.glob("segments/*/metrics.jsonl"):
        steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
        assert steps == list(range(min(steps, default=0), max(steps, default=-1) + 1))
        trained += len(steps)
    assert trained > 0

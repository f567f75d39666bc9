"""Trackers receive every row of a study's logs, and each once, whatever happens in between."""

import logging
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.study.compile.tree import Node, Route, compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from deepen.study.run import tracking
from deepen.study.run.errors import Interrupted
from deepen.study.run.tracking import Tracking
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store
from deepen.train.state import Progress
from processes import polls
from tracked import Curves, read_tensorboard, read_trackio, read_wandb

os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="trackio-")  # it is read when trackio is imported
os.environ["HF_HUB_OFFLINE"] = "1"

BATCH = 32
READERS: Mapping[str, Callable[[Path], Curves]] = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": lambda folder: read_trackio(folder.name),
}


@pytest.fixture
def short(make_study: Callable[..., Study], model: ModelConfig, tmp_path: Path) -> Study:
    """Two arms that share their first steps, measured at three budgets; named as its folder."""
    return make_study(
        name=tmp_path.name,
        model=replace(model, depth=2),
        tokens=20 * BATCH,
        arms=(
            Arm(name="full", recipe="full"),
            Arm(name="the same", recipe="full"),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 1}),
        ),
        evaluation=Evaluation(every_tokens=5 * BATCH, validation_tokens=64),
    )


def expected_steps(study: Study, dataset: Dataset, folder: Path) -> dict[str, list[float]]:
    """By arm, the losses that were logged along the longest route."""
    tree, store = compile_study(study, dataset.fingerprint), Store(folder)
    longest = {}
    for route in sorted(tree.routes, key=lambda route: route.mark.schedule.tokens):
        longest[f"{route.arm.name} seed {route.seed}"] = route
    return {
        name: [line["loss"] for key in route.keys for line in store.segment(key).lines("metrics")]
        for name, route in longest.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("tracker", READERS)
def test_an_interrupted_study_is_tracked_once(
    tracker: str,
    short: Study,
    dataset: Dataset,
    run_study: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    steps = count(1)

    def interrupt(*_: object) -> None:
        if next(steps) in (7, 50):
            signal.raise_signal(signal.SIGINT)

    hook = register_optimizer_step_post_hook(interrupt)
    try:
        for _ in range(2):
            with pytest.raises(Interrupted):
                run_study(short, tmp_path, track=(tracker,))
    finally:
        hook.remove()
    run_study(short, tmp_path, track=(tracker,))
    results = run_study(short, tmp_path, track=(tracker,))  # trains nothing, so it logs nothing
    curves = READERS[tracker](tmp_path)
    losses = expected_steps(short, dataset, tmp_path)
    assert curves.keys() == losses.keys()
    for name, values in losses.items():
        logged = sorted(curves[name]["train/loss"])
        assert [value for _, value in logged] == pytest.approx(values)
        assert len({at for at, _ in logged}) == len(logged)
        assert {"train/lr", "train/grad_norm", "train/depth", "compute/flops", "val/loss"} <= curves[name].keys()
    for arm in results["arms"]:
        marks = Counter(round(mark["val_loss"], 5) for mark in arm["marks"] if mark["accounting"] == "flops")
        logged = curves[f"{arm['name']} seed 0"]["mark/val_loss"]
        assert Counter(round(value, 5) for _, value in logged) == marks


@pytest.mark.slow
def test_a_tracker_that_fails_ends_nothing_and_catches_up(
    short: Study, dataset: Dataset, run_study: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "study").mkdir()
    obstacle = tmp_path / "study" / "tensorboard"
    with caplog.at_level(logging.WARNING):
        run_study(short, tmp_path / "study")
        obstacle.write_text("this is not a folder")
        results = run_study(short, tmp_path / "study", track=("tensorboard",))
    assert results["trained_share"] == 1
    [warning] = [record.message for record in caplog.records if "tracker" in record.message]
    assert warning.startswith("tracker tensorboard failed (") and "training continues without it" in warning
    obstacle.unlink()
    run_study(short, tmp_path / "study", track=("tensorboard",))
    losses = expected_steps(short, dataset, tmp_path / "study")
    curves = read_tensorboard(tmp_path / "study")
    assert {name: len(values) for name, values in losses.items()} == {
        name: len(values["train/loss"]) for name, values in curves.items()
    }


def test_a_damaged_record_is_named_and_without_it_all_is_logged_again(
    study: Study, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tree, store = compile_study(replace(study, arms=study.arms[:1]), dataset.fingerprint), Store(tmp_path)
    node = next(iter(tree.nodes.values()))
    with Tracking(tree, store, ["tensorboard"]):
        log_steps(store.segment(node.key), node, 1, 3, loss=5.0)
    record = tmp_path / "trackers" / "tensorboard.json"
    record.write_text(record.read_text().replace("full", "fool"))
    with caplog.at_level(logging.WARNING), Tracking(tree, store, ["tensorboard"]):
        log_steps(store.segment(node.key), node, 4, 6, loss=5.0)
    [warning] = [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert str(record) in warning and "training continues without it. Remove that file" in warning
    record.unlink()
    shutil.rmtree(tmp_path / "tensorboard")
    with Tracking(tree, store, ["tensorboard"]):
        pass
    logged = read_tensorboard(tmp_path)["full seed 0"]["train/loss"]
    assert logged == [(step, 5.0) for step in range(1, 7)]


class CountedRoutes(tuple[Route, ...]):
    """Routes that count how often they are read."""

    read = 0

    def __iter__(self) -> Iterator[Route]:
        self.read += 1
        return super().__iter__()


def test_a_new_plan_is_taken_over_once(
    study: Study, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tracking, "POLL_SECONDS", 0.01)
    tree = compile_study(study, dataset.fingerprint)
    plans = [replace(tree, routes=CountedRoutes(tree.routes)) for _ in range(2)]
    with Tracking(tree, Store(tmp_path), ["tensorboard"]) as feeds:
        for plan in plans:
            feeds.replan(plan)
            next(_ for _ in polls() if plan.routes.read)
    # Leaving has the thread look once more at least.
    assert [plan.routes.read for plan in plans] == [1, 1]


def log_steps(folder: SegmentFolder, node: Node, first: int, last: int, loss: float) -> None:
    """Append steps as a worker does."""
    folder.open(node)
    folder.append(
        "metrics",
        [
            {"step": step, "tokens": step * BATCH, "loss": loss, "flops": step, "seconds": step / 10, "depth": 2}
            for step in range(first, last + 1)
        ],
    )


def test_steps_that_are_trained_again_are_logged_once(study: Study, dataset: Dataset, tmp_path: Path):
    """After a kill, the logs are cut to the last state, and training goes on from there."""
    tree, store = compile_study(replace(study, arms=study.arms[:1]), dataset.fingerprint), Store(tmp_path)
    node = next(iter(tree.nodes.values()))
    folder = store.segment(node.key)
    with Tracking(tree, store, ["tensorboard"]):
        log_steps(folder, node, 1, 6, loss=5.0)
    with Tracking(tree, store, ["tensorboard"]):
        folder.truncate_logs(Progress(step=3, tokens=3 * BATCH))
        log_steps(folder, node, 4, 8, loss=4.0)
    logged = read_tensorboard(tmp_path)["full seed 0"]["train/loss"]
    assert logged == [(step, 5.0 if step <= 6 else 4.0) for step in range(1, 9)]


def test_half_a_line_is_read_when_it_is_whole(study: Study, dataset: Dataset, tmp_path: Path):
    tree, store = compile_study(replace(study, arms=study.arms[:1]), dataset.fingerprint), Store(tmp_path)
    node = next(iter(tree.nodes.values()))
    folder = store.segment(node.key)
    log_steps(folder, node, 1, 3, loss=5.0)
    log = folder.folder / "metrics.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-10])
    with Tracking(tree, store, ["tensorboard"]):
        pass
    assert len(read_tensorboard(tmp_path)["full seed 0"]["train/loss"]) == 2
    log.write_bytes(whole)
    with Tracking(tree, store, ["tensorboard"]):
        pass
    assert len(read_tensorboard(tmp_path)["full seed 0"]["train/loss"]) == 3

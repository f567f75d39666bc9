"""A run interrupted anywhere equals an uninterrupted one to the bit: every recipe, every step, stopped or crashed.

A reference is trained once per recipe. Then each of its segments is trained again from its parent's state, once
for every step at which it can be interrupted. A segment that ends in the reference's state gives its children the
reference's start, so this covers whole runs. Also, one run per recipe is stopped after every single step.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from compare import without_times
from deepen.data.shards import Dataset
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD
from deepen.schedule.recipes import RECIPES
from deepen.study.compile.tree import Node, Tree, compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.start import Start
from deepen.study.define.study import Arm, Study
from deepen.study.results.collect import collect
from deepen.study.run.job import Job, make_jobs
from deepen.study.run.worker import train_segment
from deepen.study.store.checkpoints import find_checkpoint
from deepen.study.store.study_folder import Store
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state

pytestmark = pytest.mark.slow

CONTEXT, ROWS, STEPS = 8, 3, 12
OPTIONS: dict[str, dict[str, Any]] = {
    "two-phase": {"stages": 2, "scope": "new-blocks-head"},
    "staged": {"stages": 2, "reset_at_continual": True},
}
CONTINUAL_SHARES = {"staged": (0.5,)}
CASES = [*((recipe, "gpt2") for recipe in RECIPES), ("two-phase", "llama"), ("one-shot", "gpt2", "ramps")]
RAMPS = {"batch_ramp": Ramp(steps=((0.0, 20), (0.6, 32))), "context_ramp": Ramp(steps=((0.0, 4), (0.7, 8)))}
"""Ramps whose steps are two micro-batches too."""


class Crash(Exception):
    """Stands for the sudden end of a process."""


class Run:
    """A study of one recipe in a folder: every batch is two micro-batches, of two sequences and of one."""

    def __init__(self, study: Study, dataset: Dataset, folder: Path) -> None:
        self.study, self.dataset, self.store = study, dataset, Store(folder)
        self.tree: Tree = compile_study(study, dataset.fingerprint)

    def job(self, node: Node) -> Job:
        return make_jobs(self.tree, self.dataset, self.store.folder)[node.key]

    def train(self, node: Node, steps: int | None = None) -> bool:
        """Train a segment for a number of steps or to its end."""
        taken = 0

        def count(*_: Any) -> None:
            nonlocal taken
            taken += 1

        hook = register_optimizer_step_post_hook(count)
        try:
            return train_segment(self.job(node), lambda: steps is not None and taken >= steps)
        finally:
            hook.remove()

    def results(self) -> Any:
        return without_times(collect(self.tree, self.store, self.dataset, machine="", wall_seconds=0.0).to_json())

    def kept(self, node: Node) -> Any:
        """The logs and done.json of a segment, without times."""
        folder = self.store.segment(node.key)
        return without_times({
            "metrics": folder.lines("metrics"), "evals": folder.lines("evals"), "done": folder.done,
        })  # fmt: skip


def assert_same(run: Run, reference: Run, node: Node) -> None:
    assert run.kept(node) == reference.kept(node)
    a, b = run.store.segment(node.key).state(), reference.store.segment(node.key).state()
    assert a.weights.keys() == b.weights.keys() and a.moments.keys() == b.moments.keys()
    assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert all(torch.equal(a.moments[n][key], b.moments[n][key]) for n in a.moments for key in a.moments[n])
    assert replace(a.progress, seconds=0) == replace(b.progress, seconds=0)
    assert (a.depth, a.seed, a.recent_losses) == (b.depth, b.seed, b.recent_losses)


@contextmanager
def crash_at_forward(number: int) -> Iterator[None]:
    """Crash in the n-th forward pass of training; the second one of a step is inside gradient accumulation."""
    seen = 0

    def before(module: nn.Module, _: Any) -> None:
        nonlocal seen
        if isinstance(module, Decoder) and torch.is_grad_enabled():
            seen += 1
            if seen == number:
                raise Crash

    hook = nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()


def make_start(model: ModelConfig, dataset: Dataset, folder: Path) -> Start:
    """A checkpoint with half of a model's blocks."""
    small = replace(model, depth=model.depth // 2)
    state = initial_state(small, small.depth, seed=7)
    write_checkpoint(folder / "checkpoint", state, small, (), dataset.folder)
    return Start.at(find_checkpoint(folder / "checkpoint"))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def reference(
    request: pytest.FixtureRequest,
    model: ModelConfig,
    llama: ModelConfig,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    recipe, family, *ramps = request.param
    batch = CONTEXT * ROWS
    study = Study(
        name="exact",
        model=replace(model if family == "gpt2" else llama, depth=4),
        tokens=STEPS * batch,
        batch_tokens=batch,
        context=CONTEXT,
        arms=(Arm(name=recipe, recipe=recipe, options=OPTIONS.get(recipe, {}), **(RAMPS if ramps else {})),),
        baseline=recipe,
        anchors=(1.0, 1.4),  # a decayed branch leaves the stable part, which continues to another
        continual_shares=CONTINUAL_SHARES.get(recipe, ()),
        accountings=("flops",),
        evaluation=Evaluation(every_tokens=5 * batch, validation_tokens=64),
        rate=WSD(peak=1e-2, warmup_tokens=2 * batch),
        settings=TrainSettings(micro_batch_tokens=2 * CONTEXT),
    )
    if RECIPES[recipe].needs_checkpoint:
        study = replace(study, start=make_start(study.model, dataset, tmp_path_factory.mktemp("start")))
    run = Run(study, dataset, tmp_path_factory.mktemp("reference"))
    run.store.open(study, {})
    for node in run.tree.nodes.values():
        assert run.train(node)
    return run


def interrupted(reference: Run, node: Node, folder: Path, interrupt: Callable[[Run], None]) -> None:
    """Train a segment of the reference again, with interruptions, and compare it and the results."""
    shutil.copytree(reference.store.folder, folder)
    run = Run(reference.study, reference.dataset, folder)
    shutil.rmtree(run.store.segment(node.key).folder)
    interrupt(run)
    assert run.train(node)
    assert_same(run, reference, node)
    assert run.results() == reference.results()
    shutil.rmtree(folder)


def count_steps(node: Node) -> int:
    return (node.segment.end - node.segment.start) // node.segment.batch_tokens


def test_stopped_at_any_step(reference: Run, tmp_path: Path):
    for node in reference.tree.nodes.values():
        for steps in range(count_steps(node)):

            def stop(run: Run, node: Node = node, steps: int = steps) -> None:
                assert not run.train(node, steps)
                own = run.store.segment(node.key)
                assert len(own.lines("metrics")) == steps and own.has_state == (steps > 0)

            interrupted(reference, node, tmp_path / "run", stop)


def test_crashed_inside_the_gradient_accumulation_of_any_step(reference: Run, tmp_path: Path):
    for node in reference.tree.nodes.values():
        for steps in range(count_steps(node)):

            def crash(run: Run, node: Node = node, steps: int = steps) -> None:
                saved = steps // 2  # half of the steps are on disk, the others are lost
                assert not run.train(node, saved)
                with crash_at_forward(2 * (steps - saved) + 2), pytest.raises(Crash):
                    run.train(node)

            interrupted(reference, node, tmp_path / "run", crash)


def test_stopped_after_every_step_from_beginning_to_end(reference: Run, tmp_path: Path):
    run = Run(reference.study, reference.dataset, tmp_path / "run")
    run.store.open(run.study, {})
    for node in run.tree.nodes.values():
        while not run.train(node, steps=1):
            pass
        assert_same(run, reference, node)
    assert run.results() == reference.results()
    lines = [run.store.segment(key).lines("metrics") for key in run.tree.routes[-1].keys]
    steps = [line["step"] for segment in lines for line in segment]
    assert steps == list(range(1, len(steps) + 1))

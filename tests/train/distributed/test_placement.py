"""Many processes train as one does: the same losses to 1e-10 in fp64, through growth and freezing.

The processes are real and communicate by gloo. Batches of three sequences are divided among two processes (two and
one) and among four (one of which has none), in micro-batches of one.

With bf16 autocast, weights are fp32 and products of the same rows the same, so what differs is the order in which
gradients are summed. A weight that this moves over a boundary of rounding is another one in bf16, so the tolerance
is less than a rounding in bf16 and more than one in fp32.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import deepen.study.run.worker
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.rate import WSD, Constant
from deepen.schedule.trainable import TRAINABLE_SETS
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.executor import local
from deepen.study.define.study import Arm, Study
from deepen.study.run.job import Job, make_jobs
from deepen.study.run.scheduler import WorkPlan, find_pending, train_tree
from deepen.study.run.worker import train_segment
from deepen.study.store.retention import RETENTION_POLICIES
from deepen.study.store.study_folder import Store
from deepen.train.distributed.processes import World
from deepen.train.errors import TrainingError
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, fresh_state, initial_state
from ranks import Pools, alone

pytestmark = pytest.mark.slow

CONTEXT, ROWS, STEPS = 8, 3, 8
TOLERANCE = 1e-10
ARMS = [
    Arm(name=scope, recipe="two-phase", options={"stages": 2, "scope": scope})
    for scope in TRAINABLE_SETS
    if scope != "all"
] + [
    Arm(
        name="copy",
        recipe="one-shot",
        options={
            "start_depth": 2,
            "operator": "interleave",
            "moments": "copy",
            "rewarm_tokens": 2 * CONTEXT * ROWS,
        },
    ),
    Arm(name="from nothing", recipe="one-shot", options={"start_depth": 0, "operator": "random"}),
    Arm(name="loops", recipe="loop-untie"),
    Arm(name="norms", recipe="full", options={"train": "blocks:1,norms"}),
]


SHARDED = pytest.mark.parametrize("shard", [False, True], ids=["ddp", "fsdp"])


def parallel_study(model: ModelConfig, *arms: Arm, **settings: Any) -> Study:
    batch = CONTEXT * ROWS
    return Study(
        name="parallel",
        model=replace(model, depth=4),
        tokens=STEPS * batch,
        batch_tokens=batch,
        context=CONTEXT,
        arms=arms or (Arm(name="full", recipe="full"),),
        baseline=arms[0].name if arms else "full",
        anchors=(1.0,),
        accountings=("flops",),
        evaluation=Evaluation(every_tokens=5 * batch, validation_tokens=15 * CONTEXT),
        rate=WSD(peak=1e-2, warmup_tokens=2 * batch),
        settings=TrainSettings(**({"micro_batch_tokens": CONTEXT} | settings)),
    )


def initial_state_fp64(config: ModelConfig, depth: int, seed: int) -> TrainState:
    """The state before the first step, in fp64, so that training is in fp64 too."""
    state = initial_state(config, depth, seed)
    return replace(state, weights={name: weight.double() for name, weight in state.weights.items()})


def train_study(
    world: World, study: Study, dataset: Dataset, folder: Path, *, shard: bool = False, shard_group: int = 0
) -> dict[str, Any]:
    """Train a study; returns the logged numbers, final weights and moments of every segment.

    It is in fp64, unless products are to be in bf16.
    """
    if study.settings.precision == "fp32":
        deepen.study.run.worker.fresh_state = initial_state_fp64
    try:
        tree, store = compile_study(study, dataset.fingerprint), Store(folder)
        store.open(study, {})
        train_tree(
            WorkPlan(tree=tree, jobs=make_jobs(tree, dataset, folder)), store, local(1), threads=1,
            policy=RETENTION_POLICIES["all"], world=replace(world, shard=shard, shard_group=shard_group),
        )  # fmt: skip
    finally:
        deepen.study.run.worker.fresh_state = fresh_state
    return {key: _read_numbers(store, key) for key in tree.nodes}


def _read_numbers(store: Store, key: str) -> dict[str, torch.Tensor]:
    folder = store.segment(key)
    state = folder.state()
    numbers = {f"weight {name}": weight for name, weight in state.weights.items()}
    numbers |= {f"{what} {name}": m for name, kept in state.moments.items() for what, m in kept.items()}
    for what in ("loss", "grad_norm", "lr", "tokens"):
        numbers[what] = torch.tensor([line[what] for line in folder.lines("metrics")], dtype=torch.float64)
    for what in ("value", "stderr", "n"):
        numbers[what] = torch.tensor([line[what] for line in folder.lines("evals")], dtype=torch.float64)
    return numbers


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key].keys() == expected[key].keys()
        for name, numbers in expected[key].items():
            assert numbers.dtype in (torch.float64, torch.bfloat16) or name.startswith("step"), name
            # AdamW divides by about the gradient's size, so a weight's error is larger than its gradient's.
            tolerance = TOLERANCE if name in ("loss", "grad_norm", "value") else 1e-7
            torch.testing.assert_close(found[key][name], numbers, rtol=tolerance, atol=tolerance, msg=name)


@pytest.fixture(scope="module")
def expected(
    model: ModelConfig, llama: ModelConfig, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Study, dict[str, Any]]]:
    """By number of processes: the study that they train, and its results in one process."""
    studies = {
        2: parallel_study(model, *ARMS),
        4: parallel_study(llama, *ARMS[:4], *ARMS[-2:], activation_checkpointing=True),
    }
    folder = tmp_path_factory.mktemp("one")
    return {
        size: (study, alone(train_study, study, dataset, folder / str(size))) for size, study in studies.items()
    }


@SHARDED
@pytest.mark.parametrize("size", [2, 4])
def test_every_scope_and_growth_gives_the_losses_of_one_process(
    size: int, shard: bool, expected: Any, pools: Pools, dataset: Dataset, tmp_path: Path
):
    study, by_one = expected[size]
    assert_close(pools(size).call(train_study, study, dataset, tmp_path / "many", shard=shard), by_one)


@SHARDED
def test_moments_in_bf16_are_those_of_one_process(
    shard: bool, pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    study = parallel_study(model, ARMS[3], optimizer=OptimizerSpec.adamw(state_precision="bf16"))
    by_one = alone(train_study, study, dataset, tmp_path / "one")
    assert any(numbers.dtype is torch.bfloat16 for kept in by_one.values() for numbers in kept.values())
    assert_close(pools(2).call(train_study, study, dataset, tmp_path / "many", shard=shard), by_one)


@SHARDED
def test_muon_orthogonalizes_whole_matrices_as_one_process_does(
    shard: bool, pools: Pools, llama: ModelConfig, dataset: Dataset, tmp_path: Path
):
    study = parallel_study(llama, ARMS[3], optimizer=OptimizerSpec.muon())
    by_one = alone(train_study, study, dataset, tmp_path / "one")
    assert any(name.startswith("momentum_buffer") for kept in by_one.values() for name in kept)
    assert_close(pools(2).call(train_study, study, dataset, tmp_path / "many", shard=shard), by_one)


@pytest.mark.parametrize("optimizer", [OptimizerSpec.adamw(), OptimizerSpec.muon()], ids=lambda spec: spec.kind)
def test_a_copy_in_each_of_two_groups_gives_the_losses_of_one_process(
    optimizer: OptimizerSpec, pools: Pools, llama: ModelConfig, dataset: Dataset, tmp_path: Path
):
    """A mesh of 2 × 2, as of two machines with two GPUs each."""
    study = parallel_study(llama, ARMS[0], ARMS[3], optimizer=optimizer)
    by_one = alone(train_study, study, dataset, tmp_path / "one")
    by_four = pools(4).call(train_study, study, dataset, tmp_path / "many", shard=True, shard_group=2)
    assert_close(by_four, by_one)


@pytest.mark.parametrize("shard_group", [0, 2], ids=["one copy", "two copies"])
def test_gradients_that_are_sent_once_in_a_step_give_the_losses_of_one_process(
    shard_group: int, pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    study = parallel_study(model, ARMS[0], ARMS[3], reduce_once=True)
    study = replace(study, batch_tokens=6 * CONTEXT, tokens=STEPS * 6 * CONTEXT)  # two micro-batches, or one
    by_one = alone(train_study, study, dataset, tmp_path / "one")
    by_four = pools(4).call(train_study, study, dataset, tmp_path / "many", shard=True, shard_group=shard_group)
    assert_close(by_four, by_one)


BF16_TOLERANCES = {"loss": 1e-4, "value": 1e-4, "grad_norm": 1e-3}
"""Of numbers whose rounding in bf16 is 2e-3 to 4e-3."""


@pytest.mark.parametrize(
    ("size", "shard_group", "arms", "settings"),
    [
        (2, 0, [ARMS[0], ARMS[3], ARMS[-1]], {"reduce_once": True}),
        (4, 2, ARMS[-2:], {"activation_checkpointing": True}),
    ],
    ids=["one copy, gradients once", "two copies, blocks twice"],
)
def test_matrices_that_are_gathered_in_bf16_give_the_losses_of_autocast_in_one_process(
    size: int, shard_group: int, arms: list[Arm], settings: dict[str, Any],
    pools: Pools, llama: ModelConfig, dataset: Dataset, tmp_path: Path,
):  # fmt: skip
    """Through growth, freezing and shared layers; queries and keys have norms."""
    model = replace(llama, qk_norm="per-head")
    study = parallel_study(model, *arms, precision="bf16", **settings)
    by_one = alone(train_study, study, dataset, tmp_path / "one")
    many = pools(size).call(train_study, study, dataset, tmp_path / "many", shard=True, shard_group=shard_group)
    assert many.keys() == by_one.keys()
    for key, expected in by_one.items():
        for name, tolerance in BF16_TOLERANCES.items():
            torch.testing.assert_close(many[key][name], expected[name], rtol=tolerance, atol=0)
        assert all(kept.dtype == torch.float32 for name, kept in many[key].items() if name.startswith("weight"))


def train_for_steps(
    world: World, study: Study, dataset: Dataset, folder: Path, *, shard: bool, steps: int, shard_group: int = 0
) -> list[str]:
    """Train some more steps of a study; returns the segments that remain."""
    deepen.study.run.worker.fresh_state = initial_state_fp64
    tree, store = compile_study(study, dataset.fingerprint), Store(folder)
    store.open(study, {})
    taken = 0

    def stop() -> bool:
        nonlocal taken
        taken += 1
        return taken > steps

    for node in find_pending(tree, store):
        job = Job(
            node=node, folder=folder, model=study.model, window=CONTEXT,
            settings=study.settings, validation_tokens=study.evaluation.validation_tokens,
            mark_tokens=study.mark_tokens, dataset=dataset,
        )  # fmt: skip
        if not train_segment(job, stop, world=replace(world, shard=shard, shard_group=shard_group)):
            break
    deepen.study.run.worker.fresh_state = fresh_state
    return [node.key for node in find_pending(tree, store)]


def test_a_run_continues_with_any_number_of_processes(
    expected: Any, pools: Pools, dataset: Dataset, tmp_path: Path
):
    study, by_one = expected[4]
    assert pools(2).call(train_for_steps, study, dataset, tmp_path / "run", shard=True, steps=3)
    assert alone(train_for_steps, study, dataset, tmp_path / "run", shard=False, steps=3)
    assert pools(4).call(train_for_steps, study, dataset, tmp_path / "run", shard=False, steps=3)
    assert pools(4).call(train_for_steps, study, dataset, tmp_path / "run", shard=True, steps=1)
    assert pools(4).call(train_for_steps, study, dataset, tmp_path / "run", shard=True, steps=2, shard_group=2)
    assert_close(pools(2).call(train_study, study, dataset, tmp_path / "run"), by_one)


def find_error(world: World, study: Study, dataset: Dataset, folder: Path, *, shard: bool = False) -> str:
    """Train until a number is not finite; returns the message."""
    try:
        train_study(world, study, dataset, folder, shard=shard)
    except TrainingError as error:
        assert world.control is None or world.control.is_idle
        return str(error)
    raise AssertionError("all numbers were finite")


@SHARDED
def test_numbers_that_are_not_finite_are_traced_to_their_sequence(
    shard: bool, pools: Pools, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    study = replace(parallel_study(model), rate=WSD(peak=1e200, warmup_tokens=CONTEXT * ROWS))
    message = find_error(World(), study, dataset, tmp_path / "one")
    assert "sequence 1 of 3" in message
    assert pools(2).call(find_error, study, dataset, tmp_path / "many", shard=shard) == message


@SHARDED
def test_a_spike_is_skipped_by_all_processes(
    shard: bool, pools: Pools, model: ModelConfig, noisy_data: Dataset, tmp_path: Path
):
    batch = 2 * 16
    study = replace(
        parallel_study(model, on_spike="skip"), model=replace(model, depth=2, width=16),
        context=16, batch_tokens=batch, tokens=48 * batch, rate=Constant(peak=3e-2),
        evaluation=Evaluation(every_tokens=48 * batch, validation_tokens=64),
    )  # fmt: skip
    by_one = alone(train_study, study, noisy_data, tmp_path / "one")
    assert_close(pools(2).call(train_study, study, noisy_data, tmp_path / "many", shard=shard), by_one)
    lines = (tmp_path / "many").glob("segments/*/metrics.jsonl")
    assert sum("skipped" in line for path in lines for line in path.read_text().splitlines()) == 1

"""What every growth operator promises, held to by real training: 2 steps, growth from 5 to 7 blocks, 2 steps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS, UNTIE, get_operator
from deepen.growth.spec import Growth
from deepen.model.build import build, draw_block
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD
from deepen.schedule.recipes.constant_depth import full
from deepen.schedule.schedule import Schedule
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.progress import Progress
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from llama_options import RELATIVES
from tiny_models import tiny

OLD, DEPTH, CONTEXT, STEP = 5, 7, 16, 32
CPU = SingleProcess(torch.device("cpu"))
RATE = WSD(peak=1e-2, warmup_tokens=STEP, decay_share=0.25)
FRESH = None
Made = int | tuple[int, int, float] | None
"""What a block is made from: a block before growth, a mixture of two with the share of the second, or `FRESH`."""


@dataclass(frozen=True)
class Promise:
    """A growth from 5 to 7 blocks, and what it promises.

    `made` has an entry for each block, and `new` lists the new ones. Where `layers` is given, these share blocks
    before growth.
    """

    growth: Growth
    made: tuple[Made, ...]
    new: tuple[int, ...]
    preserves_function: bool = False
    layers: tuple[int, ...] = ()

    @property
    def copies(self) -> bool:
        return FRESH not in self.made


PROMISES = {
    "random": Promise(Growth(), (0, 1, 2, 3, 4, FRESH, FRESH), new=(5, 6)),
    "identity": Promise(Growth(operator="identity"), (0, 1, 2, 3, 4, FRESH, FRESH), (5, 6), True),
    "stack": Promise(Growth(operator="stack"), (0, 1, 2, 3, 4, 0, 1), new=(5, 6)),
    "interleave": Promise(Growth(operator="interleave"), (0, 1, 2, 2, 3, 4, 4), new=(3, 6)),
    "copy-zero": Promise(Growth(operator="copy-zero"), (0, 1, 2, 2, 3, 4, 4), (3, 6), True),
    "last": Promise(Growth(operator="last"), (0, 1, 2, 3, 4, 3, 4), new=(5, 6)),
    "last-block": Promise(Growth(operator="last-block"), (0, 1, 2, 3, 4, 4, 4), new=(5, 6)),
    "middle": Promise(Growth(operator="middle"), (0, 1, 2, 1, 2, 3, 4), new=(3, 4)),
    "interpolate": Promise(Growth(operator="interpolate"), (0, 1, 2, (2, 3, 0.5), 3, 4, 4), new=(3, 6)),
    "untie": Promise(Growth(operator="untie"), (0, 1, 2, 3, 4, 1, 2), (5, 6), True, (0, 1, 2, 3, 4, 1, 2)),
    "layout": Promise(Growth(layout=(0, 1, 0, 2, 1, 3, 4)), (0, 1, 0, 2, 1, 3, 4), new=(2, 4)),
    "layout of zeros": Promise(
        Growth(layout=(0, 1, 0, 2, 1, 3, 4), operator="copy-zero"), (0, 1, 0, 2, 1, 3, 4), (2, 4), True
    ),
    "stack of zeros": Promise(Growth(operator="stack", residual_scale=0), (0, 1, 2, 3, 4, 0, 1), (5, 6), True),
    "copies in the middle": Promise(
        Growth(operator="stack", placement="middle", residual_scale=0.5), (0, 1, 2, 0, 1, 3, 4), new=(3, 4)
    ),
    "fresh blocks below": Promise(
        Growth(operator="random", placement="bottom"), (FRESH, FRESH, 0, 1, 2, 3, 4), new=(0, 1)
    ),
}
QUICK = ("gpt2-tied", "llama-untied")
MODELS: dict[str, ModelConfig] = {
    **{f"{family}-tied": tiny(family, tied=True) for family in ("gpt2", "llama")},
    **{f"{family}-untied": tiny(family, tied=False) for family in ("gpt2", "llama")},
    **{name: replace(tiny("llama", tied=True), **options) for name, options in RELATIVES.items()},
    "biases": replace(tiny("llama", tied=False), biases="all"),
}
over_models = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)


class RecordedBatches(Batches):
    """Batches that remember what was read."""

    def rows_at(self, position: int, batch_tokens: int, context: int) -> Tensor:
        rows_bt = super().rows_at(position, batch_tokens, context)
        self.read = [*getattr(self, "read", ()), rows_bt]
        return rows_bt


def schedule(promise: Promise) -> Schedule:
    phases = (
        Phase(depth=len(promise.layers) or OLD, tokens=2 * STEP, label="before", layers=promise.layers),
        Phase(depth=DEPTH, tokens=2 * STEP, label="after"),
    )
    return replace(Schedule(phases=phases, growth=promise.growth), rate=RATE).in_steps(STEP, CONTEXT)


def train(
    plan: Schedule,
    config: ModelConfig,
    state: TrainState,
    batches: Batches,
    *,
    until: int = 4 * STEP,
    prepare: Callable[[Engine], None] = lambda engine: None,
) -> tuple[TrainState, list[dict[str, float]]]:
    """Train the pieces of a schedule that a state has not trained yet; `prepare` receives each engine."""
    logged: list[dict[str, float]] = []

    def log(progress: Progress, measured: dict[str, float]) -> None:
        logged.append({"tokens": progress.tokens, **measured})

    for segment in split_schedule(plan, Ledger(model=config)):
        if not state.progress.tokens < segment.end <= until:
            continue
        engine = Engine(begin_segment(state, segment, config), segment, config, batches, TrainSettings(), CPU)
        prepare(engine)
        engine.run(segment.end, log)
        state = engine.state()
    return state, logged


@pytest.fixture(scope="module")
def before(dataset: Dataset) -> Callable[[str, tuple[int, ...]], TrainState]:
    """The state of a model after the steps before growth."""

    @cache
    def run(name: str, layers: tuple[int, ...]) -> TrainState:
        growth = Growth(operator="untie" if layers else "random")
        plan = schedule(Promise(growth, (), (), layers=layers))
        batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
        state = initial_state(MODELS[name], OLD, seed=0)
        return train(plan, MODELS[name], state, batches, until=2 * STEP)[0]

    return run


@pytest.fixture(scope="module")
def baseline(dataset: Dataset) -> Callable[[str], tuple[list[float], list[Tensor]]]:
    """The rates and the batches of full training, after as many steps as there are before growth."""

    @cache
    def run(name: str) -> tuple[list[float], list[Tensor]]:
        config, batches = MODELS[name], RecordedBatches(dataset.tokens("train"), CONTEXT, seed=0)
        plan = replace(full(config, 4 * STEP), rate=RATE).in_steps(STEP, CONTEXT)
        _, logged = train(plan, config, initial_state(config, config.depth, seed=0), batches)
        return [line["lr"] for line in logged][2:], batches.read[2:]

    return run


def logits(config: ModelConfig, state: TrainState, layers: tuple[int, ...]) -> Tensor:
    network = build(config, state.depth, layers).double()
    network.load_state_dict(dict(state.weights))
    with torch.no_grad():
        return network(torch.arange(32).view(2, 16))


def block(named: Any, index: int) -> dict[str, Any]:
    prefix = f"blocks.{index}."
    return {name.removeprefix(prefix): each for name, each in named.items() if name.startswith(prefix)}


def expected_block(promise: Promise, index: int, old: TrainState, config: ModelConfig) -> dict[str, Tensor]:
    """The weights that a block should have after growth."""
    made, created = promise.made[index], OLD + promise.new.index(index) if index in promise.new else 0
    if made is FRESH:
        weights = dict(draw_block(config, old.seed, created))
    elif isinstance(made, tuple):
        lower, upper = block(old.weights, made[0]), block(old.weights, made[1])
        weights = {name: torch.lerp(each, upper[name], made[2]) for name, each in lower.items()}
    else:
        weights = block(old.weights, made)
    is_zero = get_operator(promise.growth.operator).zero_output
    scale = 0.0 if is_zero else promise.growth.residual_scale
    return {
        name: weight * scale if index in promise.new and name.startswith(config.zero_parameters) else weight
        for name, weight in weights.items()
    }


def expected_moments(promise: Promise, index: int, old: TrainState, moments: str) -> dict[str, dict[str, Tensor]]:
    """The moments that a block should have after growth, step counts included."""
    made = promise.made[index]
    if moments == "reset" or made is FRESH or (index in promise.new and moments == "keep"):
        return {}
    if not isinstance(made, tuple):
        return block(old.moments, made)
    lower, upper = block(old.moments, made[0]), block(old.moments, made[1])
    return {
        name: {
            "exp_avg": torch.lerp(each["exp_avg"], upper[name]["exp_avg"], made[2]),
            "exp_avg_sq": torch.lerp(each["exp_avg_sq"], upper[name]["exp_avg_sq"], made[2]),
            "step": each["step"],
        }
        for name, each in lower.items()
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[name], value)
        else:
            assert torch.equal(found[name], value), name


def test_every_operator_promises_something_here():
    assert {*OPERATORS, UNTIE.name} <= PROMISES.keys()
    for name, operator in {**OPERATORS, UNTIE.name: UNTIE}.items():
        promise = PROMISES[name]
        assert (operator.preserves_function, operator.copies) == (promise.preserves_function, promise.copies), name


@pytest.mark.parametrize("moments", MOMENT_POLICIES)
@pytest.mark.parametrize("case", PROMISES)
@over_models
def test_old_tensors_stay_and_new_ones_are_made_as_declared(case: str, name: str, moments: str, before):
    promise, config, old = PROMISES[case], MODELS[name], before(name, PROMISES[case].layers)
    growth = replace(promise.growth, moments=moments)
    [segment] = [each for each in split_schedule(schedule(replace(promise, growth=growth)), Ledger(model=config))
                 if each.growth is not None]  # fmt: skip
    assert segment.growth is not None and segment.growth.new_blocks == promise.new
    assert [entry for index, entry in enumerate(promise.made) if index not in promise.new] == [*range(OLD)]
    grown = begin_segment(old, segment, config)
    for index in range(DEPTH):
        assert_same(block(grown.weights, index), expected_block(promise, index, old, config))
        assert_same(block(grown.moments, index), expected_moments(promise, index, old, moments))
    for key, value in old.weights.items():
        if not key.startswith("blocks."):
            assert grown.weights[key] is value
            assert (key in grown.moments) == (moments != "reset" and key in old.moments)
    assert len(grown.weights) == len(build(config, DEPTH).state_dict())


@pytest.mark.parametrize("case", PROMISES)
@over_models
def test_the_logits_change_unless_the_function_is_preserved(case: str, name: str, before):
    promise, config, old = PROMISES[case], MODELS[name], before(name, PROMISES[case].layers)
    [step] = [each for each in schedule(promise).growth_steps if each is not None]
    [segment] = [each for each in split_schedule(schedule(promise), Ledger(model=config)) if each.growth == step]
    change = logits(config, begin_segment(old, segment, config), ()) - logits(config, old, promise.layers)
    assert step.preserves_function(OLD, promise.layers) == promise.preserves_function
    if promise.preserves_function:
        assert change.abs().max() < 1e-12
    else:
        assert change.abs().max() > 1e-4


@pytest.mark.parametrize("case", PROMISES)
@over_models
def test_training_continues_with_every_parameter_the_next_batch_and_the_rate_of_full(
    case: str, name: str, before, baseline, dataset: Dataset
):
    promise, config, old = PROMISES[case], MODELS[name], before(name, PROMISES[case].layers)
    promise = replace(promise, growth=replace(promise.growth, moments="copy"))
    has_gradient: dict[str, bool] = {}
    begun: list[TrainState] = []

    def prepare(engine: Engine) -> None:
        names = {parameter: key for key, parameter in engine.model.named_parameters()}
        held = [parameter for group in engine.optimizer.param_groups for parameter in group["params"]]
        assert len(held) == len(names) and set(held) == names.keys()
        begun.append(engine.state())
        for parameter, key in names.items():
            declared = begun[-1].moments.get(key, {})
            assert_same({**engine.optimizer.state.get(parameter, {})}, dict(declared))

            def record(parameter: Tensor, key: str = key) -> None:
                has_gradient[key] = bool(parameter.grad.any())

            parameter.register_post_accumulate_grad_hook(record)

    batches = RecordedBatches(dataset.tokens("train"), CONTEXT, seed=0)
    after, logged = train(schedule(promise), config, old, batches, prepare=prepare)
    assert all(found for key, found in has_gradient.items() if not key.endswith("attention.k.bias"))
    assert has_gradient.keys() == after.weights.keys() == after.moments.keys()
    for key, moments in after.moments.items():
        steps = begun[0].moments.get(key, {}).get("step", torch.tensor(0.0))
        assert moments["step"] == steps + 2

    rates, read = baseline(name)
    assert [line["lr"] for line in logged] == rates
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(batches.read, read, strict=True))

"""Re-warm after growth: which parameters learn at which rate, and exactness under interruption."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD
from deepen.schedule.schedule import Schedule
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.placement import SingleProcess
from deepen.train.progress import Progress
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from short_runs import is_same

STEP, STEPS, GROWN_AT, REWARM = 32, 12, 4, 4
CPU = SingleProcess(torch.device("cpu"))


def growing(depth: int, **rewarm: Any) -> Schedule:
    """STEPS steps that grow once, in interleaved copies, and decay over the last half."""
    growth = Growth(operator="interleave", moments="copy", **rewarm)
    phases = (
        Phase(depth=depth // 2, tokens=GROWN_AT * STEP, label="shallow"),
        Phase(depth=depth, tokens=(STEPS - GROWN_AT) * STEP, label="deep"),
    )
    return Schedule(phases=phases, growth=growth, rate=WSD(peak=1e-2, decay_share=0.5)).in_steps(STEP, 16)


def train(
    schedule: Schedule,
    model: ModelConfig,
    dataset: Dataset,
    *,
    until: int = STEPS,
    cut: int = 0,
    optimizer: OptimizerSpec | None = None,
) -> tuple[TrainState, list[dict[str, float]], list[dict[str, float]]]:
    """Train to a step; where `cut` falls, everything is rebuilt from the state.

    Returns the state, what was logged of each step, and the rate of each parameter in each step.
    """
    logged: list[dict[str, float]] = []
    rates: list[dict[str, float]] = []
    settings = TrainSettings(optimizer=optimizer or OptimizerSpec.adamw())
    batches, state = Batches(dataset.tokens("train"), 16, seed=0), initial_state(model, model.depth // 2, seed=0)
    for segment in split_schedule(schedule, Ledger(model=model)):
        for end in sorted({segment.end, min(max(cut * STEP, segment.start), segment.end)}):
            if segment.start >= until * STEP:
                return state, logged, rates
            engine = Engine(begin_segment(state, segment, model), segment, model, batches, settings, CPU)
            names = {parameter: name for name, parameter in engine.model.named_parameters()}

            def log(progress: Progress, measured: dict[str, float], engine=engine, names=names) -> None:
                logged.append(measured)
                groups = engine.optimizer.param_groups
                rates.append({names[parameter]: group["lr"] for group in groups for parameter in group["params"]})

            engine.run(min(end, until * STEP), log)
            state = engine.state()
    return state, logged, rates


def test_new_blocks_rise_to_the_rate_of_the_others(model: ModelConfig, dataset: Dataset):
    usual = [line["lr"] for line in train(growing(model.depth), model, dataset)[1]]
    _, logged, rates = train(growing(model.depth, rewarm_tokens=REWARM * STEP), model, dataset)
    new = tuple(f"blocks.{index}." for index in range(1, model.depth, 2))
    for step, (line, by_name) in enumerate(zip(logged, rates, strict=True)):
        rising = GROWN_AT <= step < GROWN_AT + REWARM
        share = (step - GROWN_AT + 1) / (REWARM + 1) if rising else 1.0
        assert line["lr"] == usual[step]
        assert line.get("lr_new_blocks", line["lr"]) == pytest.approx(usual[step] * share)
        assert ("lr_new_blocks" in line) == rising
        for name, rate in by_name.items():
            is_new = step >= GROWN_AT and name.startswith(new)
            assert rate == pytest.approx(usual[step] * (share if is_new else 1.0)), name


def test_everything_rises_if_that_is_asked_for(model: ModelConfig, dataset: Dataset):
    usual = [line["lr"] for line in train(growing(model.depth), model, dataset)[1]]
    _, logged, rates = train(growing(model.depth, rewarm_tokens=REWARM * STEP, rewarm="all"), model, dataset)
    for step, (line, by_name) in enumerate(zip(logged, rates, strict=True)):
        rising = GROWN_AT <= step < GROWN_AT + REWARM
        expected = usual[step] * ((step - GROWN_AT + 1) / (REWARM + 1) if rising else 1.0)
        assert line["lr"] == pytest.approx(expected) and "lr_new_blocks" not in line
        assert set(by_name.values()) == {line["lr"]}


def test_the_first_update_of_new_blocks_is_smaller_by_the_share_and_that_of_the_others_is_the_same(
    model: ModelConfig, dataset: Dataset
):
    before, _, _ = train(growing(model.depth), model, dataset, until=GROWN_AT)
    segment = next(piece for piece in split_schedule(growing(model.depth), Ledger(model=model)) if piece.growth)
    grown = begin_segment(before, segment, model).weights
    usual, _, _ = train(growing(model.depth), model, dataset, until=GROWN_AT + 1)
    schedule = growing(model.depth, rewarm_tokens=REWARM * STEP)
    rewarmed, _, _ = train(schedule, model, dataset, until=GROWN_AT + 1)
    for name, weight in usual.weights.items():
        if name.startswith("blocks.") and int(name.split(".")[1]) % 2:
            moved, usually = rewarmed.weights[name] - grown[name], weight - grown[name]
            assert torch.allclose(moved, usually / (REWARM + 1), atol=1e-6) and usually.abs().max() > 1e-4
        else:
            assert torch.equal(rewarmed.weights[name], weight), name


@pytest.mark.parametrize("cut", [GROWN_AT, GROWN_AT + 1, GROWN_AT + REWARM - 1, GROWN_AT + REWARM, STEPS - 1])
@pytest.mark.parametrize("optimizer", [OptimizerSpec.adamw(), OptimizerSpec.muon()], ids=lambda spec: spec.kind)
def test_a_run_cut_while_its_rate_rises_equals_an_uncut_run(
    cut: int, optimizer: OptimizerSpec, model: ModelConfig, dataset: Dataset
):
    schedule = growing(model.depth, rewarm_tokens=REWARM * STEP)
    uncut, _, _ = train(schedule, model, dataset, optimizer=optimizer)
    assert is_same(train(schedule, model, dataset, cut=cut, optimizer=optimizer)[0], uncut)


def test_a_segment_ends_where_the_rise_does(model: ModelConfig):
    ledger = Ledger(model=model)
    pieces = split_schedule(growing(model.depth, rewarm_tokens=REWARM * STEP), ledger)
    assert [piece.start // STEP for piece in pieces] == [0, 4, 6, 8] and pieces[-1].end == STEPS * STEP
    assert [piece.rewarm is not None for piece in pieces] == [False, True, True, False]
    plain = split_schedule(growing(model.depth), ledger)
    assert pieces[0] == plain[0]
    assert replace(pieces[3], start=plain[-1].start) == plain[-1]

"""Muon: which parameters it updates, and the exactness of runs that grow and are interrupted."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.growth.spec import Growth
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.engine import Engine
from deepen.train.optim.make import make_optimizer, read_moments, set_rates
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.progress import Progress
from deepen.train.read_back import ImmediateReadBack, choose_read_back
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from short_runs import CPU, is_same

MUON = OptimizerSpec.muon()
STEP = 32


def growing_segments(model: ModelConfig, moments: str) -> list[Segment]:
    """Four steps with 2 blocks, two with only the copied blocks 2 and 3 trained, four with all."""
    phases = (
        Phase(depth=2, tokens=4 * STEP, label="shallow"),
        Phase(depth=4, tokens=2 * STEP, label="new", train=Trainable.NEW_BLOCKS),
        Phase(depth=4, tokens=4 * STEP, label="all"),
    )
    growth, rate = Growth(operator="stack", moments=moments), WSD(peak=1e-2, warmup_tokens=2 * STEP)
    schedule = Schedule(phases=phases, growth=growth, rate=rate).in_steps(STEP, 16)
    return split_schedule(schedule, Ledger(model=model, optimizer=MUON.cost))


def train(model: ModelConfig, dataset: Dataset, folder: Path | None = None, moments: str = "copy") -> TrainState:
    """Train the growing run; with a folder, stop after every step and continue from the state on disk."""
    batches, settings = Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(optimizer=MUON)
    segments = growing_segments(model, moments)
    state = initial_state(model, segments[0].depth, seed=0)
    flops: list[int] = []

    def log(progress: Progress, measured: object) -> None:
        flops.append(progress.flops)

    for segment in segments:
        state = begin_segment(state, segment, model)
        while state.progress.tokens < segment.end:
            until = segment.end if folder is None else state.progress.tokens + STEP
            engine = Engine(state, segment, model, batches, settings, CPU)
            engine.run(until, log)
            state = engine.state()
            if folder is not None:
                save_state(state, folder)
                state = load_state(folder)
    assert flops[-1] == sum(segment.flops for segment in segments)
    return state


def test_a_growing_run_is_bit_identical_when_cut_at_every_step(
    any_model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    assert is_same(train(any_model, dataset, tmp_path / "state"), train(any_model, dataset))


@pytest.mark.parametrize("moments", ["keep", "copy", "reset"])
def test_growth_copies_the_momentum_by_the_moment_policy(moments: str, model: ModelConfig, dataset: Dataset):
    batches, settings = Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(optimizer=MUON)
    first, *_ = segments = growing_segments(model, moments)
    state = initial_state(model, 2, seed=0)
    grown_at = next(segment for segment in segments if segment.depth == 4)
    for segment in segments[: segments.index(grown_at)]:
        engine = Engine(state, segment, model, batches, settings, CPU)
        engine.run(segment.end, lambda progress, measured: None)
        state = engine.state()
    assert first.depth == 2
    grown = begin_segment(state, grown_at, model)
    kept = {} if moments == "reset" else dict(state.moments)
    if moments == "copy":
        copies = {name: name.replace("blocks.0", "blocks.2").replace("blocks.1", "blocks.3") for name in kept}
        kept |= {copies[name]: state.moments[name] for name in state.moments}
    assert grown.moments.keys() == kept.keys()
    for name, tensors in kept.items():
        assert all(torch.equal(grown.moments[name][key], tensor) for key, tensor in tensors.items())


def test_muon_updates_the_matrices_of_the_blocks_and_adamw_the_rest(any_model: ModelConfig):
    network = build(any_model, 2)
    optimizer = make_optimizer(network, MUON, {}, CPU)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    names = {parameter: name for name, parameter in network.named_parameters()}
    matrices = {names[p] for p, state in optimizer.state.items() if set(state) == {"momentum_buffer"}}
    linears = {f"blocks.{index}.{name}.weight" for index in (0, 1) for name in any_model.block_linears}
    assert matrices == linears
    others = {names[p] for p, state in optimizer.state.items() if "exp_avg_sq" in state}
    assert others == set(names.values()) - linears


def test_each_update_is_that_of_torchs_muon_or_adamw(model: ModelConfig):
    torch.manual_seed(0)
    ours, theirs = build(model, 1), build(model, 1)
    weights = {name: torch.randn_like(p) / 10 for name, p in ours.named_parameters()}
    for network in (ours, theirs):
        network.load_state_dict(weights)
    optimizer = make_optimizer(ours, replace(MUON, lr_factor=3.0), {}, CPU)
    parameters = dict(theirs.named_parameters())
    matrices = [f"blocks.0.{name}.weight" for name in model.block_linears]
    decayed = [p for name, p in parameters.items() if name not in matrices and p.dim() == 2]
    plain = [p for name, p in parameters.items() if p.dim() == 1]
    muon = torch.optim.Muon([parameters[name] for name in matrices], lr=0.03, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    for _ in range(3):
        for name, parameter in ours.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            parameters[name].grad = parameter.grad.clone()
        set_rates(optimizer, 0.01)
        optimizer.step()
        muon.step()
        adamw.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, parameters[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("after", [OptimizerSpec.adamw(), MUON], ids=["to adamw", "to muon"])
def test_a_state_of_another_optimizer_continues_without_the_moments_that_do_not_fit(
    after: OptimizerSpec, model: ModelConfig
):
    network, before = build(model, 1), MUON if after.kind == "adamw" else OptimizerSpec.adamw()
    optimizer = make_optimizer(network, before, {}, CPU)
    for spec in (before, after):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        moments = read_moments(network, optimizer, {}, CPU)
        optimizer = make_optimizer(network, after, moments, CPU)
        kept = {name for name, parameter in network.named_parameters() if parameter in optimizer.state}
        matrices = {f"blocks.0.{name}.weight" for name in model.block_linears}
        assert kept == set(moments) - (matrices if spec is before else set())


def test_a_matrix_whose_gradient_is_zero_only_decays(model: ModelConfig):
    """As the inner matrices of a block do whose output projections begin at zero: nothing is divided by zero."""
    network = build(model, 1)
    optimizer = make_optimizer(network, MUON, {}, CPU)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rates(optimizer, 0.5)
    optimizer.step()
    for name in model.block_linears:
        weight = dict(network.named_parameters())[f"blocks.0.{name}.weight"]
        torch.testing.assert_close(weight.detach(), before[f"blocks.0.{name}.weight"] * 0.95)


def test_a_loaded_state_dict_continues_to_the_bit(model: ModelConfig):
    torch.manual_seed(0)
    networks = [build(model, 2) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    first, second = (make_optimizer(network, MUON, {}, CPU) for network in networks)
    for step in range(3):
        if step == 1:
            networks[1].load_state_dict(networks[0].state_dict())
            second.load_state_dict(deepcopy(first.state_dict()))
        for one, other in zip(*(network.parameters() for network in networks), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in (first, second)[: 2 if step else 1]:
            set_rates(optimizer, 0.01)
            optimizer.step()
    assert all(map(torch.equal, *(network.parameters() for network in networks)))


def test_a_model_without_blocks_is_trained_by_adamw_alone(model: ModelConfig):
    optimizer = make_optimizer(build(model, 0), MUON, {}, CPU)
    assert [type(part) for part in optimizer.parts] == [torch.optim.AdamW]


def test_losses_are_read_before_the_update_because_no_flag_can_hold_it_back():
    gpu = replace(CPU, device=torch.device("cuda"))
    assert choose_read_back(gpu, TrainSettings(optimizer=MUON)) is ImmediateReadBack
    assert choose_read_back(gpu, TrainSettings()) is not ImmediateReadBack

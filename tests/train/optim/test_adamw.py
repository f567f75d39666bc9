"""AdamW with moments in bf16: its updates, and the exactness of interrupted runs."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.rate import WSD
from deepen.schedule.recipes.one_shot import one_shot
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.engine import Engine
from deepen.train.optim.adamw import MOMENTS, CompactAdamW
from deepen.train.optim.make import make_optimizer
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from short_runs import CPU

FP32 = OptimizerSpec.adamw()
BF16 = OptimizerSpec.adamw(state_precision="bf16")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 33), nn.Tanh(), nn.Linear(33, 5))


def gradients(step: int, model: nn.Module) -> list[Tensor]:
    draw = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=draw) * 10 ** (step % 3 - 1) for p in model.parameters()]


def test_a_step_equals_adamws_with_moments_rounded_to_bf16():
    models = network(), network()
    compact, plain = make_optimizer(models[0], BF16, {}, CPU), make_optimizer(models[1], FP32, {}, CPU)
    for step in range(20):
        for model, optimizer in zip(models, (compact, plain), strict=True):
            for parameter, gradient in zip(model.parameters(), gradients(step, model), strict=True):
                parameter.grad = gradient
            for group in optimizer.param_groups:
                group["lr"] = 1e-2
            optimizer.step()
        for kept in plain.state.values():
            for key in MOMENTS:
                kept[key].copy_(kept[key].bfloat16())
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(ours, theirs)
        assert all(compact.state[ours][key].dtype is torch.bfloat16 for key in MOMENTS)
        assert all(torch.equal(compact.state[ours][key].float(), plain.state[theirs][key]) for key in MOMENTS)


@pytest.mark.parametrize("max_group_bytes", [600, 10**9], ids=["some at once", "all at once"])
def test_parameters_that_are_updated_at_once_get_the_same_bits(max_group_bytes: int):
    """On a GPU many are; 600 bytes are enough for the moments of three of the four tensors."""
    models = network(), network()
    one = make_optimizer(models[0], BF16, {}, CPU)
    many = CompactAdamW([{"params": models[1].parameters()}], max_group_bytes=max_group_bytes, fused=True)
    many.param_groups[0] |= {key: one.param_groups[0][key] for key in ("betas", "eps")}
    for step in range(5):
        for model, optimizer in zip(models, (one, many), strict=True):
            for parameter, gradient in zip(model.parameters(), gradients(step, model), strict=True):
                parameter.grad = gradient
            for group in optimizer.param_groups:
                group |= {"lr": 1e-2, "weight_decay": 0.1}
            optimizer.step()
    for alone, together in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(alone, together)
        assert all(torch.equal(one.state[alone][key], many.state[together][key]) for key in (*MOMENTS, "step"))


def test_found_inf_leaves_out_the_update():
    """As on a GPU, where a loss that is not finite is read too late to skip the step."""
    model = network()
    optimizer = make_optimizer(model, BF16, {}, CPU)
    for found_inf in (0.0, 1.0):
        before = [p.detach().clone() for p in model.parameters()]
        kept = [kept[key].clone() for kept in optimizer.state.values() for key in (*MOMENTS, "step")]
        for parameter, gradient in zip(model.parameters(), gradients(0, model), strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        optimizer.found_inf = torch.tensor(found_inf)
        optimizer.step()
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert all(moved) if not found_inf else not any(moved)
    after = [kept[key] for kept in optimizer.state.values() for key in (*MOMENTS, "step")]
    assert all(torch.equal(a, b) for a, b in zip(kept, after, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_growing_run_with_bf16_moments_is_bit_identical_when_cut(
    precision: str, model: ModelConfig, dataset: Dataset, tmp_path
):
    schedule = one_shot(model, 12 * 32, start_depth=6)
    schedule = replace(schedule, rate=WSD(peak=1e-2, warmup_tokens=64)).in_steps(32, 16)
    segments = split_schedule(schedule, Ledger(model=model))
    batches, settings = (
        Batches(dataset.tokens("train"), 16, seed=0),
        TrainSettings(optimizer=BF16, precision=precision),
    )

    def train(every: int) -> TrainState:
        state = initial_state(model, segments[0].depth, seed=0)
        for segment in segments:
            state = begin_segment(state, segment, model)
            while state.progress.tokens < segment.end:
                engine = Engine(state, segment, model, batches, settings, CPU)
                engine.run(min(state.progress.tokens + every, segment.end), lambda progress, measured: None)
                save_state(engine.state(), tmp_path / "state")
                state = load_state(tmp_path / "state")
        return state

    whole, cut = train(1 << 20), train(32)
    assert whole.progress.tokens == cut.progress.tokens == segments[-1].end
    assert all(torch.equal(weight, cut.weights[name]) for name, weight in whole.weights.items())
    assert all(torch.equal(m[key], cut.moments[n][key]) for n, m in whole.moments.items() for key in m)
    assert {m[key].dtype for m in whole.moments.values() for key in MOMENTS} == {torch.bfloat16}

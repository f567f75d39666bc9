"""Parameter groups of a model's optimizer: which parameters they hold, and their rates."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.train.host_copy import copy_to_host
from deepen.train.optim.make import make_optimizer, read_moments, set_rates
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.placement import SingleProcess
from queues import Device
from short_runs import CPU


def test_rewarmed_blocks_have_groups_of_their_own_and_every_parameter_is_in_one(model: ModelConfig):
    network = build(model, 12)
    optimizer = make_optimizer(network, OptimizerSpec.adamw(), {}, CPU, rewarmed=(1, 3))
    set_rates(optimizer, 0.5, rewarm_share=0.25)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert rates == {
        id(p): 0.125 if name.startswith(("blocks.1.", "blocks.3.")) else 0.5
        for name, p in network.named_parameters()
    }


def test_without_rewarmed_blocks_the_share_changes_nothing(model: ModelConfig):
    optimizer = make_optimizer(build(model, 2), OptimizerSpec.adamw(), {}, CPU)
    set_rates(optimizer, 0.5, rewarm_share=0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_a_gpu_is_waited_for_once_for_all_moments():
    keys = ("exp_avg", "exp_avg_sq", "step")
    with FakeTensorMode(), Device() as device:

        class OneGPU(SingleProcess):
            def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
                return copy_to_host(tensors, 1e9, device.event)

        network = nn.ParameterDict({name: torch.empty(3, 2, device="cuda") for name in ("weight", "head")})
        optimizer = make_optimizer(network, OptimizerSpec.adamw(), {}, CPU)
        for parameter in network.values():
            optimizer.state[parameter] = {key: torch.empty_like(parameter) for key in keys}
        moments = read_moments(network, optimizer, {}, OneGPU(torch.device("cuda")))
    assert {name: tuple(kept) for name, kept in moments.items()} == {"weight": keys, "head": keys}
    assert device.queue == [*6 * ["copy"], "event"]

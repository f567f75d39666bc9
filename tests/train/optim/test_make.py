"""Parameter groups of a model's optimizer: which parameters they hold, and their rates."""

from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.train.optim.make import make_optimizer, set_rates
from deepen.train.optim.spec import OptimizerSpec
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

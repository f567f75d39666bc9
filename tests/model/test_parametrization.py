"""How scales depend on the depth."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepen.growth.grow import grow
from deepen.growth.spec import Growth
from deepen.model.build import build, draw_block
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.train.state import TrainState, initial_state

SHALLOW, DEEP = 16, 64


def logits(config: ModelConfig, state: TrainState) -> Tensor:
    network = build(config, state.depth).double()
    network.load_state_dict({name: weight.double() for name, weight in state.weights.items()})
    with torch.no_grad():
        return network(torch.arange(32).view(2, 16))


def test_branches_are_divided_by_the_depth_and_so_is_what_they_are_proportional_to(any_model: ModelConfig) -> None:
    scaled = replace(any_model, depth=4, init_std=0.3, parametrization="depth-mup")
    state = initial_state(scaled, 4, seed=0)
    folded = {
        name: weight / 4 if name.partition(".")[2].partition(".")[2].startswith(scaled.zero_parameters) else weight
        for name, weight in state.weights.items()
    }
    assert sum(not torch.equal(folded[name], weight) for name, weight in state.weights.items()) >= 8
    plain = replace(scaled, parametrization="standard")
    assert torch.allclose(logits(scaled, state), logits(plain, replace(state, weights=folded)), rtol=1e-10)
    assert not torch.allclose(logits(scaled, state), logits(plain, state), rtol=1e-3)


def test_fresh_output_projections_are_as_large_as_other_matrices_at_any_depth(any_model: ModelConfig) -> None:
    wide = replace(any_model, depth=32, width=256, heads=4, kv_heads=4, mlp=0, parametrization="depth-mup")
    outputs = FAMILIES[wide.family].output_projections
    found = [
        weight.std().item()
        for name, weight in draw_block(wide, seed=0, number=0).items()
        if name.startswith(outputs) and weight.dim() == 2
    ]
    assert len(found) == 2 and all(abs(std / wide.init_std - 1) < 0.02 for std in found)


@pytest.mark.slow
def test_interleaved_doubling_preserves_the_function_to_first_order_if_branches_are_divided_by_the_depth(
    any_model: ModelConfig,
) -> None:
    """The change of the logits falls faster than 1 / depth, and without the division it does not fall."""

    def change(parametrization: str, depth: int) -> float:
        config = replace(any_model, depth=2 * DEEP, init_std=0.3, parametrization=parametrization)
        before = initial_state(config, depth, seed=0)
        after = grow(before, 2 * depth, Growth(operator="interleave"), config)
        old, new = logits(config, before), logits(config, after)
        return ((new - old).norm() / old.norm()).item()

    scaled, plain = (
        {depth: change(name, depth) for depth in (SHALLOW, DEEP)} for name in ("depth-mup", "standard")
    )
    assert scaled[DEEP] < 0.05 < plain[DEEP]
    assert scaled[DEEP] / scaled[SHALLOW] < SHALLOW / DEEP
    assert plain[DEEP] / plain[SHALLOW] > 0.5

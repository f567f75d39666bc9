from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.growth.grow import grow
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS, Operator
from deepen.growth.spec import Growth
from deepen.model.build import build, draw_block
from deepen.model.config import ModelConfig
from deepen.train.state import TrainState, initial_state


def trained(config: ModelConfig, depth: int) -> TrainState:
    """A state in which every weight and every moment differs from every other."""
    fresh = initial_state(config, depth, seed=1)
    draw = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(w.shape, generator=draw) * 0.3 for name, w in fresh.weights.items()}
    moments = {
        name: {
            "exp_avg": torch.randn(w.shape, generator=draw),
            "exp_avg_sq": torch.rand(w.shape, generator=draw),
            "step": torch.tensor(float(index + 1)),
        }
        for index, (name, w) in enumerate(weights.items())
    }
    return TrainState(weights=weights, moments=moments, depth=depth, seed=1)


def logits(config: ModelConfig, state: TrainState) -> torch.Tensor:
    network = build(config, state.depth).double()
    network.load_state_dict(dict(state.weights))
    with torch.no_grad():
        return network(torch.arange(32).view(2, 16))


def block(state: TrainState, index: int, what: str) -> dict[str, torch.Tensor]:
    values = state.weights if what == "weights" else {n: m["exp_avg"] for n, m in state.moments.items()}
    prefix = f"blocks.{index}."
    return {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("operator", ["identity", "copy-zero"])
def test_identity_growth_leaves_the_logits_equal_to_rounding_at_any_placement(
    operator: str, placement: str, model: ModelConfig
):
    before = trained(model, 3)
    after = grow(before, 7, Growth(operator=operator, placement=placement), model)
    assert (logits(model, after) - logits(model, before)).abs().max() < 1e-12


def test_residual_scale_multiplies_what_a_copy_adds_to_the_residual_stream(any_model: ModelConfig):
    before = trained(any_model, 2)
    once, twice = (
        grow(before, 3, Growth(operator="stack", placement="bottom", residual_scale=scale), any_model)
        for scale in (1e-4, 2e-4)
    )

    def added(state: TrainState) -> torch.Tensor:
        """What the lowest block adds to the residual stream."""
        network = build(any_model, state.depth).double()
        network.load_state_dict(dict(state.weights))
        streams: list[torch.Tensor] = []
        for index in (0, 1):
            network.blocks[index].register_forward_hook(
                lambda module, inputs, output: streams.extend((inputs[0], output))
            )
        with torch.no_grad():
            network(torch.arange(32).view(2, 16))
        return streams[1] - streams[0]

    # To first order: the MLP reads what attention added.
    assert added(twice).norm().item() == pytest.approx(2 * added(once).norm().item(), rel=1e-2)
    for name, weight in block(once, 0, "weights").items():
        scale = 1e-4 if name.startswith(any_model.zero_parameters) else 1.0
        assert torch.equal(weight, before.weights[f"blocks.0.{name}"] * scale)


def test_noise_moves_the_matrices_of_copies_by_the_share_that_was_asked_for(any_model: ModelConfig):
    before = trained(replace(any_model, width=64, head_dim=0), 2)
    config = replace(any_model, width=64, head_dim=0)
    growth = Growth(operator="stack", noise=0.1)
    after, again = grow(before, 4, growth, config), grow(before, 4, growth, config)
    for name, weight in block(after, 3, "weights").items():
        source = before.weights[f"blocks.1.{name}"]
        assert torch.equal(weight, again.weights[f"blocks.3.{name}"])
        if weight.dim() < 2:
            assert torch.equal(weight, source), name
        else:
            ratio = (weight - source).square().mean().sqrt() / source.square().mean().sqrt()
            assert ratio.item() == pytest.approx(0.1, rel=0.1), name
    other = grow(replace(before, seed=2), 4, growth, config)
    assert not torch.equal(other.weights["blocks.3.mlp.up.weight"], after.weights["blocks.3.mlp.up.weight"])
    for index in range(2):
        assert same(block(after, index, "weights"), block(before, index, "weights"))


def test_copies_of_one_block_get_noise_of_their_own_however_often_the_run_grows(model: ModelConfig):
    before, growth = trained(model, 1), Growth(operator="last-block", noise=0.1)
    at_once = grow(before, 3, growth, model)
    assert not same(block(at_once, 1, "weights"), block(at_once, 2, "weights"))
    assert same(block(grow(before, 2, growth, model), 1, "weights"), block(at_once, 1, "weights"))


def test_between_two_blocks_interpolation_is_linear(any_model: ModelConfig):
    before = trained(any_model, 2)
    after = grow(before, 6, Growth(operator="interpolate", moments="copy"), any_model)
    lower, upper = block(before, 0, "weights"), block(before, 1, "weights")
    for index, share in enumerate((0, 1 / 3, 2 / 3, 1, 1, 1)):
        for name, weight in block(after, index, "weights").items():
            mixed = (1 - share) * lower[name] + share * upper[name]
            assert torch.allclose(weight, mixed, atol=1e-6), (index, name)
    without = replace(before, moments={n: m for n, m in before.moments.items() if "blocks.1." not in n})
    frozen_above = grow(without, 6, Growth(operator="interpolate", moments="copy"), any_model)
    assert {name.split(".")[1] for name in frozen_above.moments if name.startswith("blocks.")} == {"0"}


def gradients(config: ModelConfig, state: TrainState) -> dict[str, torch.Tensor]:
    """Gradients of a language model's loss on random tokens."""
    network = build(config, state.depth)
    network.load_state_dict(dict(state.weights))
    tokens = torch.randint(config.vocab, (4, 17), generator=torch.Generator().manual_seed(0))
    network(tokens[:, :-1], tokens[:, 1:]).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_gradients_of_an_identity_block_reach_what_is_zero_and_then_everything(any_model: ModelConfig):
    state = grow(initial_state(any_model, 1, seed=0), 2, Growth(operator="identity"), any_model)
    first = gradients(any_model, state)
    stepped = {name: weight - 1e-3 * first[name].sign() for name, weight in state.weights.items()}
    second = gradients(any_model, replace(state, weights=stepped))
    for name, gradient in first.items():
        if name.startswith(tuple(f"blocks.1.{zero}" for zero in any_model.zero_parameters)):
            assert gradient.any(), name
        assert second[name].any() or name.endswith("attention.k.bias"), name  # which softmax does not see


def test_gradients_of_an_identity_block_are_as_large_as_those_of_a_fresh_block(any_model: ModelConfig):
    def norm(operator: str) -> float:
        state = grow(initial_state(any_model, 1, seed=0), 2, Growth(operator=operator), any_model)
        found = gradients(any_model, state)
        return (
            sum(gradient.square().sum().item() for name, gradient in found.items() if "blocks.1." in name) ** 0.5
        )

    assert norm("identity") < 2 * norm("random")


def test_stack_copies_the_whole_stack_moments_too(any_model: ModelConfig):
    before = trained(any_model, 3)
    after = grow(before, 6, Growth(operator="stack", moments="copy"), any_model)
    for index in range(6):
        for what in ("weights", "moments"):
            assert same(block(after, index, what), block(before, index % 3, what))
    assert after.moments["blocks.4.mlp.up.weight"]["step"] == before.moments["blocks.1.mlp.up.weight"]["step"]


def test_interleave_copies_each_block_above_itself(any_model: ModelConfig):
    before = trained(any_model, 3)
    after = grow(before, 6, Growth(operator="interleave", moments="copy"), any_model)
    for index in range(6):
        assert same(block(after, index, "weights"), block(before, index // 2, "weights"))


@pytest.mark.parametrize("moments", MOMENT_POLICIES)
def test_a_layout_repeats_blocks_and_their_moments_by_the_policy(moments: str, any_model: ModelConfig):
    before = trained(any_model, 3)
    after = grow(before, 5, Growth(layout=(0, 1, 0, 1, 2), moments=moments), any_model)
    for index, source in enumerate((0, 1, 0, 1, 2)):
        assert same(block(after, index, "weights"), block(before, source, "weights"))
        has_moments = moments == "copy" or (moments == "keep" and index not in (2, 3))
        assert same(block(after, index, "moments"), block(before, source, "moments") if has_moments else {})


def test_moment_policies(any_model: ModelConfig):
    before = trained(any_model, 2)
    kept, copied, reset = (
        grow(before, 4, Growth(operator="stack", moments=policy), any_model)
        for policy in ("keep", "copy", "reset")
    )
    old = {name for name in before.moments}
    assert set(kept.moments) == old
    assert set(copied.moments) == set(copied.weights)
    assert reset.moments == {}


def test_growth_is_pure_and_copies_share_no_memory(any_model: ModelConfig):
    before = trained(any_model, 2)
    snapshot = {name: w.clone() for name, w in before.weights.items()}
    after = grow(before, 4, Growth(operator="stack", moments="copy"), any_model)
    after.weights["blocks.2.mlp.up.weight"].zero_()
    assert all(torch.equal(before.weights[name], snapshot[name]) for name in snapshot)
    assert after.weights["blocks.0.mlp.up.weight"].abs().sum() > 0


def test_fresh_blocks_on_top_do_not_depend_on_earlier_growth(any_model: ModelConfig):
    growth = Growth(operator="random")
    in_one_step = grow(initial_state(any_model, 2, seed=3), 6, growth, any_model)
    in_two_steps = grow(grow(initial_state(any_model, 2, seed=3), 3, growth, any_model), 6, growth, any_model)
    whole = initial_state(any_model, 6, seed=3)
    assert all(torch.equal(in_one_step.weights[name], in_two_steps.weights[name]) for name in in_one_step.weights)
    assert all(torch.equal(in_one_step.weights[name], whole.weights[name]) for name in whole.weights)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.sampled_from(sorted(OPERATORS)),
    st.sampled_from(["", *PLACEMENTS]),
    st.sampled_from(sorted(MOMENT_POLICIES)),
)
def test_any_growth_keeps_the_old_blocks_and_makes_new_ones_by_its_operator(
    any_model: ModelConfig, old: int, new: int, operator: str, placement: str, moments: str
):
    before = trained(any_model, old)
    growth = Growth(operator=operator, placement=placement, moments=moments)
    after = grow(before, old + new, growth, any_model)
    build(any_model, old + new).load_state_dict(dict(after.weights))
    layout = PLACEMENTS[placement or OPERATORS[operator].placement].arrange(old, new)
    assert [block for block in layout if block is not None] == list(range(old))
    assert layout.count(None) == new
    for name, weight in before.weights.items():
        if not name.startswith("blocks."):
            assert after.weights[name] is weight
            assert after.moments.get(name) is (None if moments == "reset" else before.moments[name])
    new_below = 0
    step = growth.resolve(old, old + new)
    for index, source in enumerate(layout):
        weights, kept = block(after, index, "weights"), block(after, index, "moments")
        if source is not None:
            assert same(weights, block(before, source, "weights"))
            assert same(kept, {} if moments == "reset" else block(before, source, "moments"))
            continue
        number, new_below = old + new_below, new_below + 1
        zeroed = {
            name: weight
            for name, weight in weights.items()
            if OPERATORS[operator].zero_output and name.startswith(any_model.zero_parameters)
        }
        assert not any(weight.any() for weight in zeroed.values())
        if step.blocks[index].upper_source is not None:
            assert operator == "interpolate"
            continue
        copied = [n for n in range(old) if same(weights, block(before, n, "weights") | zeroed)]
        assert len(copied) == OPERATORS[operator].copies
        assert same(kept, block(before, copied[0], "moments") if copied and moments == "copy" else {})
        assert copied or same(weights, dict(draw_block(any_model, before.seed, number)) | zeroed)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_without_blocks_only_an_operator_that_does_not_copy_can_grow(operator: Operator, model: ModelConfig):
    empty = initial_state(model, 0, seed=0)
    if operator.copies:
        with pytest.raises(InvalidValueError, match="copies blocks, and the model has none"):
            grow(empty, 2, Growth(operator=operator.name), model)
    else:
        assert grow(empty, 2, Growth(operator=operator.name), model).depth == 2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.growth.grow import grow
from deepen.growth.operators import OPERATORS
from deepen.growth.placement import PLACEMENTS, layout, new_blocks
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Growth
from deepen.train.state import TrainState, initial_state

CONFIG = ModelConfig(name="test", depth=12, width=8, heads=2, context=16, vocab=64)


def trained(depth: int) -> TrainState:
    """A state whose every weight and moment is told apart from every other."""
    fresh = initial_state(CONFIG, depth, seed=1)
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


def logits(state: TrainState) -> torch.Tensor:
    network = build(CONFIG, state.depth).double()
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
def test_identity_growth_leaves_the_logits_equal_to_rounding(placement: str):
    before = trained(3)
    after = grow(before, 7, Growth(operator="identity", placement=placement), CONFIG)
    assert (logits(after) - logits(before)).abs().max() < 1e-12


def test_random_growth_does_change_the_logits():
    before = trained(3)
    assert (logits(grow(before, 7, Growth(operator="random"), CONFIG)) - logits(before)).abs().max() > 1e-3


def test_an_identity_block_is_not_dead():
    state = grow(initial_state(CONFIG, 1, seed=0), 2, Growth(operator="identity"), CONFIG)
    network = build(CONFIG, 2)
    network.load_state_dict(dict(state.weights))
    network(torch.arange(16).view(1, 16)).square().mean().backward()
    assert network.blocks[1].mlp.down.weight.grad.abs().sum() > 0
    assert network.blocks[1].attention.out.weight.grad.abs().sum() > 0


def test_stack_copies_the_whole_stack_moments_too():
    before = trained(3)
    after = grow(before, 6, Growth(operator="stack", moments="copy"), CONFIG)
    for index in range(6):
        for what in ("weights", "moments"):
            assert same(block(after, index, what), block(before, index % 3, what))
    assert after.moments["blocks.4.mlp.up.weight"]["step"] == before.moments["blocks.1.mlp.up.weight"]["step"]


def test_interleave_copies_each_block_above_itself():
    before = trained(3)
    after = grow(before, 6, Growth(operator="interleave", moments="copy"), CONFIG)
    for index in range(6):
        assert same(block(after, index, "weights"), block(before, index // 2, "weights"))


def test_moment_policies():
    before = trained(2)
    kept, copied, reset = (
        grow(before, 4, Growth(operator="stack", moments=policy), CONFIG) for policy in ("keep", "copy", "reset")
    )
    old = {name for name in before.moments}
    assert set(kept.moments) == old
    assert set(copied.moments) == set(copied.weights)
    assert reset.moments == {}


def test_growth_is_pure_and_copies_have_memory_of_their_own():
    before = trained(2)
    snapshot = {name: w.clone() for name, w in before.weights.items()}
    after = grow(before, 4, Growth(operator="stack", moments="copy"), CONFIG)
    after.weights["blocks.2.mlp.up.weight"].zero_()
    assert all(torch.equal(before.weights[name], snapshot[name]) for name in snapshot)
    assert after.weights["blocks.0.mlp.up.weight"].abs().sum() > 0


def test_fresh_blocks_on_top_do_not_depend_on_the_path_that_led_there():
    growth = Growth(operator="random")
    at_once = grow(initial_state(CONFIG, 2, seed=3), 6, growth, CONFIG)
    in_steps = grow(grow(initial_state(CONFIG, 2, seed=3), 3, growth, CONFIG), 6, growth, CONFIG)
    whole = initial_state(CONFIG, 6, seed=3)
    assert all(torch.equal(at_once.weights[name], in_steps.weights[name]) for name in at_once.weights)
    assert all(torch.equal(at_once.weights[name], whole.weights[name]) for name in whole.weights)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.sampled_from(sorted(OPERATORS)),
    st.sampled_from(["", *PLACEMENTS]),
    st.sampled_from(["keep", "copy", "reset"]),
)
def test_any_growth_keeps_old_blocks_in_order_and_fills_the_model(
    old: int, new: int, operator: str, placement: str, moments: str
):
    before = initial_state(CONFIG, old, seed=0)
    growth = Growth(operator=operator, placement=placement, moments=moments)
    after = grow(before, old + new, growth, CONFIG)
    build(CONFIG, old + new).load_state_dict(dict(after.weights))
    places = layout(old, new, placement or OPERATORS[operator].placement)
    assert [place for place in places if place is not None] == list(range(old))
    assert len(new_blocks(places)) == new
    for index, source in enumerate(places):
        if source is not None:
            assert same(block(after, index, "weights"), block(before, source, "weights"))


@pytest.mark.parametrize(
    "growth",
    [Growth(operator="stak"), Growth(placement="upstairs"), Growth(moments="keeep")],
)
def test_unknown_words_are_refused(growth: Growth):
    with pytest.raises(ValueError, match="unknown"):
        grow(trained(2), 4, growth, CONFIG)


def test_growth_only_adds():
    with pytest.raises(ValueError, match="only adds"):
        grow(trained(2), 2, Growth(), CONFIG)

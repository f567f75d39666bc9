from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.schedule.lr import WSD
from deepen.schedule.phase import Scope
from deepen.schedule.recipes import two_phase
from deepen.study.tree import pieces
from deepen.train.engine import Engine, TrainingError
from deepen.train.optim import make_optimizer
from deepen.train.scope import apply_scope
from deepen.train.segment import Segment, begin
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state

CPU = torch.device("cpu")


def silent(*_: object) -> None:
    pass


def growing(model: ModelConfig, scope: Scope = Scope.NEW_BLOCKS) -> list[Segment]:
    """A growing run of 40 steps: three stages, both phases, continual training, warm-up and decay."""
    schedule = two_phase(model, 40 * 32, staged_tokens=24 * 32, stages=3, scope=scope)
    schedule = replace(schedule, lr=WSD(peak=1e-2, warmup_tokens=3 * 32)).in_steps(32, 16)
    return pieces(schedule, Ledger(model=model))


def train(
    segments: list[Segment],
    model: ModelConfig,
    dataset: Dataset,
    cut: int = 0,
    settings: TrainSettings | None = None,
) -> TrainState:
    """Train; where `cut` falls, everything is rebuilt from the state."""
    batches, state = Batches(dataset.tokens("train"), 16, seed=0), initial_state(model, segments[0].depth, seed=0)
    settings = settings or TrainSettings()
    for segment in segments:
        for until in sorted({segment.end, min(max(cut, segment.start), segment.end)}):
            engine = Engine(begin(state, segment, model), segment, model, batches, settings, CPU)
            engine.run(until, silent)
            state = engine.state()
    return state


def assert_same(a: TrainState, b: TrainState) -> None:
    assert a.weights.keys() == b.weights.keys() and a.moments.keys() == b.moments.keys()
    assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert all(torch.equal(a.moments[n][key], b.moments[n][key]) for n in a.moments for key in a.moments[n])
    assert replace(a.progress, seconds=0) == replace(b.progress, seconds=0)


@pytest.fixture(scope="module")
def uncut(model: ModelConfig, dataset: Dataset) -> TrainState:
    return train(growing(model), model, dataset)


@pytest.mark.parametrize("cut", range(32, 40 * 32, 32))
def test_a_run_cut_at_any_step_equals_an_uncut_run(
    cut: int, uncut: TrainState, model: ModelConfig, dataset: Dataset
):
    assert_same(train(growing(model), model, dataset, cut=cut), uncut)


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ALL])
def test_in_phase_1_what_is_frozen_stays_to_the_bit_and_the_rest_moves(
    scope: Scope, model: ModelConfig, dataset: Dataset
):
    segments = growing(model, scope)
    at = next(index for index, segment in enumerate(segments) if segment.train is scope)
    grown = begin(train(segments[:at], model, dataset), segments[at], model)
    engine = Engine(grown, segments[at], model, Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(), CPU)
    engine.run(segments[at].end, silent)
    after = engine.state()
    trained = {name for name, p in engine.model.named_parameters() if p.requires_grad}
    assert trained and trained != set(after.weights)
    for name, weight in grown.weights.items():
        assert torch.equal(weight, after.weights[name]) == (name not in trained), name
    assert all(after.moments[n] is grown.moments[n] for n in grown.moments if n not in trained)


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("new", [(2, 3), (0,), (1, 3)])
def test_parameters_with_a_gradient_are_the_declared_ones(scope: Scope, new: tuple[int, ...], model: ModelConfig):
    network = build(model, 4)
    network.load_state_dict(init_weights(model, 4, seed=0))
    cut = apply_scope(network, scope, new)
    logits = network(torch.arange(16).view(1, 16), cut=cut)
    F.cross_entropy(logits.flatten(0, 1), torch.arange(16)).backward()
    declared = {f"blocks.{index}." for index in (range(4) if scope is Scope.ALL else new)}
    declared |= {"norm.", "token_embedding."} if scope is not Scope.NEW_BLOCKS else set()
    declared |= {"position_embedding."} if scope in (Scope.ALL, Scope.NEW_BLOCKS_EMBEDDINGS) else set()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == name.startswith(tuple(declared)), name


def test_with_the_head_scope_the_tied_matrix_learns_through_the_head_alone(model: ModelConfig):
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    cut = apply_scope(network, Scope.NEW_BLOCKS_HEAD, (1,))
    tokens = torch.zeros(1, 16, dtype=torch.int64)
    logits = network(tokens, cut=cut)
    logits[..., 5].sum().backward()  # only row 5 of the head is read; the input embeds only token 0
    gradient = network.token_embedding.weight.grad
    assert gradient[5].abs().sum() > 0 and gradient[0].abs().sum() == 0


@pytest.mark.parametrize("scope", list(Scope))
def test_every_trainable_parameter_is_in_one_group_with_the_right_decay(scope: Scope, model: ModelConfig):
    network = build(model, 3)
    apply_scope(network, scope, (2,))
    groups = make_optimizer(network, TrainSettings(weight_decay=0.1), {}).param_groups
    placed = [(id(p), group["weight_decay"]) for group in groups for p in group["params"]]
    expected = [(id(p), 0.1 if p.dim() >= 2 else 0.0) for p in network.parameters() if p.requires_grad]
    assert sorted(placed) == sorted(expected)


def test_each_parameter_counts_its_own_steps(uncut: TrainState):
    first, last = (uncut.moments[f"blocks.{i}.mlp.up.weight"]["step"].item() for i in (0, 11))
    assert first == 40 - 8 and last == 40 - 16  # two phases of 4 steps frozen; born after 16 steps


def test_micro_batches_change_rounding_only(uncut: TrainState, model: ModelConfig, dataset: Dataset):
    split = train(growing(model), model, dataset, settings=TrainSettings(micro_batch_tokens=16))
    for name, weight in uncut.weights.items():
        assert torch.allclose(weight, split.weights[name], atol=1e-3), name


def test_training_learns(uncut: TrainState, model: ModelConfig, dataset: Dataset):
    inputs, targets = Batches(dataset.tokens("train"), 16, seed=9).at(0, 64 * 16, 16)

    def loss(state: TrainState) -> float:
        network = build(model, state.depth)
        network.load_state_dict(dict(state.weights))
        with torch.no_grad():
            return F.cross_entropy(network(inputs).flatten(0, 1), targets.flatten()).item()

    assert loss(uncut) < loss(initial_state(model, 12, seed=0)) - 0.3


def test_a_loss_that_is_not_finite_stops_before_the_update(model: ModelConfig, dataset: Dataset):
    state, segment = initial_state(model, 4, seed=0), growing(model)[0]
    state.weights["blocks.0.mlp.up.weight"][0, 0] = float("nan")
    engine = Engine(state, segment, model, Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(), CPU)
    with pytest.raises(TrainingError, match="step 1 "):
        engine.run(segment.end, silent)
    assert torch.equal(engine.state().weights["blocks.1.mlp.up.weight"], state.weights["blocks.1.mlp.up.weight"])


def test_bf16_trains_too(model: ModelConfig, dataset: Dataset):
    state = train(growing(model)[:2], model, dataset, settings=TrainSettings(precision="bf16"))
    assert all(weight.dtype is torch.float32 and weight.isfinite().all() for weight in state.weights.values())

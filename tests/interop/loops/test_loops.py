"""Loops of other people: grown and frozen exactly as the engine does it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from deepen.compute.ledger import Ledger
from deepen.compute.marks import compute_position
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.errors import InvalidValueError
from deepen.growth.grow import grow
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import Growth
from deepen.interop.loops import find_blocks, grow_model, grow_optimizer, plan_phases, set_trained_parts
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD
from deepen.schedule.recipes.expand import expand
from deepen.schedule.recipes.stages import two_phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.optim.make import make_optimizer
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from deepen.train.trainable import freeze_rest
from short_runs import CPU, discard

BATCH_TOKENS, CONTEXT = 32, 16


def make_model(config: ModelConfig, depth: int, seed: int = 0) -> nn.Module:
    model = build(config, depth)
    model.load_state_dict(init_weights(config, depth, seed))
    return model


def train_a_little(model: nn.Module) -> torch.optim.AdamW:
    """An optimizer whose state differs between all parameters."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(2):
        model(torch.arange(16).view(1, 16) + step, torch.arange(16).view(1, 16)).backward()
        optimizer.step()
    return optimizer


def stages(model: ModelConfig, scope: str = "new-blocks", **options: str) -> Schedule:
    """Three stages of both phases, then continual training: 40 steps, with warm-up and decay."""
    tokens = 40 * BATCH_TOKENS
    schedule = two_phase(model, tokens, staged_tokens=24 * BATCH_TOKENS, stages=3, scope=scope, **options)
    return replace(schedule, rate=WSD(peak=1e-2, warmup_tokens=5 * BATCH_TOKENS))


@pytest.mark.parametrize("moments", MOMENT_POLICIES)
@pytest.mark.parametrize("operator", [operator for operator in OPERATORS if OPERATORS[operator].copies])
def test_a_model_grows_as_a_state_does(operator: str, moments: str, any_model: ModelConfig):
    model = make_model(any_model, 3)
    optimizer = train_a_little(model)
    named = dict(model.named_parameters())
    state = TrainState(
        weights={name: weight.detach() for name, weight in model.state_dict().items()},
        moments={name: dict(optimizer.state[parameter]) for name, parameter in named.items()},
        depth=3,
        seed=0,
    )
    scale = 1.0 if OPERATORS[operator].zero_output else 0.5
    for placement in PLACEMENTS:
        growth = Growth(operator=operator, placement=placement, moments=moments, noise=0.1, residual_scale=scale)
        deeper = make_model(any_model, 7, seed=1)
        deeper_optimizer = torch.optim.AdamW(deeper.parameters())
        projections = any_model.zero_parameters
        grow_model(model, deeper, growth, output_projections=projections)
        grow_optimizer(optimizer, deeper_optimizer, model, deeper, growth)
        grown = grow(state, 7, growth, any_model)
        weights, parameters = deeper.state_dict(), dict(deeper.named_parameters())
        assert weights.keys() == grown.weights.keys()
        assert all(torch.equal(weights[name], grown.weights[name]) for name in weights)
        has_state = {name for name, parameter in parameters.items() if parameter in deeper_optimizer.state}
        assert has_state == grown.moments.keys()
        for name, kept in grown.moments.items():
            assert all(torch.equal(deeper_optimizer.state[parameters[name]][key], kept[key]) for key in kept), name


def test_torchs_muon_grows_beside_adamw(model: ModelConfig):
    shallow, deeper = make_model(model, 2), make_model(model, 4, seed=1)
    before, after = (
        torch.optim.Muon([p for p in network.blocks.parameters() if p.dim() == 2], lr=1e-2)
        for network in (shallow, deeper)
    )
    shallow(torch.arange(16).view(1, 16), torch.arange(16).view(1, 16)).backward()
    before.step()
    growth = Growth(operator="stack", moments="copy")
    grow_model(shallow, deeper, growth)
    grow_optimizer(before, after, shallow, deeper, growth)
    matrices = {name: p for name, p in deeper.named_parameters() if p in after.state}
    assert len(matrices) == 4 * len(model.block_linears)
    for name, parameter in matrices.items():
        source = name.replace("blocks.2", "blocks.0").replace("blocks.3", "blocks.1")
        momentum = before.state[shallow.get_parameter(source)]["momentum_buffer"]
        assert torch.equal(after.state[parameter]["momentum_buffer"], momentum)


def test_new_blocks_that_are_not_copies_keep_the_deeper_models_own_weights(any_model: ModelConfig):
    model, deeper, fresh = (make_model(any_model, depth, seed) for depth, seed in ((2, 0), (5, 1), (5, 1)))
    grow_model(model, deeper, Growth(operator="random", placement="middle"))
    for index, source in enumerate((model.blocks[0], *fresh.blocks[1:4], model.blocks[1])):
        pairs = zip(deeper.blocks[index].parameters(), source.parameters(), strict=True)
        assert all(torch.equal(grown, expected) for grown, expected in pairs)


def test_identity_blocks_leave_the_logits_equal(any_model: ModelConfig):
    model, deeper = make_model(any_model, 2), make_model(any_model, 6, seed=1)
    projections = any_model.zero_parameters
    grow_model(model, deeper, Growth(operator="identity"), output_projections=projections)
    ids = torch.arange(32).view(2, 16)
    assert torch.equal(model(ids), deeper(ids))


def test_the_old_model_its_copies_and_their_moments_share_no_memory(model: ModelConfig):
    shallow, deeper = make_model(model, 2), make_model(model, 4)
    optimizer, deeper_optimizer = train_a_little(shallow), torch.optim.AdamW(deeper.parameters())
    growth = Growth(operator="stack", moments="copy")
    grow_model(shallow, deeper, growth)
    grow_optimizer(optimizer, deeper_optimizer, shallow, deeper, growth)
    tensors = [*shallow.parameters(), *deeper.parameters()]
    tensors += [
        value for each in (optimizer, deeper_optimizer) for s in each.state.values() for value in s.values()
    ]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize("scope", ["all", "new-blocks", "new-blocks-embeddings"])
def test_a_loop_of_ones_own_trains_what_the_engine_trains(scope: str, model: ModelConfig, dataset: Dataset):
    """The same data, phases, rates, growth and freezing: the same weights after 40 steps."""
    schedule = stages(model, scope, operator="stack", moments="copy")
    batches, settings = Batches(dataset.tokens("train"), CONTEXT, seed=0), TrainSettings(precision="fp32")

    state = initial_state(model, 4, seed=0)
    for segment in split_schedule(schedule.in_steps(BATCH_TOKENS, CONTEXT), Ledger(model=model)):
        engine = Engine(begin_segment(state, segment, model), segment, model, batches, settings, CPU)
        engine.run(segment.end, discard)
        state = engine.state()

    def make_optimizer_for(network: nn.Module) -> torch.optim.Optimizer:
        network.requires_grad_(True)
        return make_optimizer(network, settings.optimizer, {}, CPU)

    network = make_model(model, 4)
    optimizer = make_optimizer_for(network)
    for phase in plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT):
        if phase.growth is not None:
            deeper = make_model(model, phase.depth, seed=1)
            deeper_optimizer = make_optimizer_for(deeper)
            grow_model(network, deeper, phase.growth)
            grow_optimizer(optimizer, deeper_optimizer, network, deeper, phase.growth)
            network, optimizer = deeper, deeper_optimizer
        set_trained_parts(network, phase.trained)
        for step in range(phase.steps):
            position = phase.start + step * phase.batch_tokens
            optimizer.zero_grad()
            network(*batches.at(position, phase.batch_tokens, phase.context)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.max_grad_norm)
            for group in optimizer.param_groups:
                group["lr"] = phase.lr(step)
            optimizer.step()
    weights = network.state_dict()
    assert weights.keys() == state.weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, state.weights[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "trainable", [*TRAINABLE_SETS.values(), Trainable.explicit((1,), embeddings=True, norms=True)], ids=str
)
def test_the_same_parameters_are_trained_as_by_the_engine(trainable: Trainable, llama: ModelConfig):
    trained = trainable.resolve(4, (1, 2))
    ours, theirs = build(llama, 4), build(llama, 4)
    freeze_rest(ours, trained)
    set_trained_parts(theirs, trained)
    flags = {name: parameter.requires_grad for name, parameter in theirs.named_parameters()}
    assert flags == {name: parameter.requires_grad for name, parameter in ours.named_parameters()}


def test_a_tied_head_is_trained_with_the_embeddings_or_not_at_all(llama: ModelConfig):
    """The engine can train it alone, because it cuts the graph above the embeddings; another loop does not."""
    model = build(llama, 4)
    model.head.weight = model.token_embedding.weight
    with pytest.raises(InvalidValueError, match="trained has the head without the embeddings, but they share"):
        set_trained_parts(model, Trainable.NEW_BLOCKS_HEAD.resolve(4, (3,)))
    set_trained_parts(model, Trainable.NEW_BLOCKS.resolve(4, (3,)))
    assert not model.head.weight.requires_grad
    set_trained_parts(model, Trainable.NEW_BLOCKS_EMBEDDINGS.resolve(4, (3,)))
    assert model.head.weight.requires_grad and not model.blocks[2].mlp.up.weight.requires_grad


def test_layers_that_share_blocks_are_refused():
    looped = Phase(depth=4, layers=(0, 1, 0, 1), tokens=4 * BATCH_TOKENS, label="looped")
    with pytest.raises(
        InvalidValueError, match="layers of phase 'looped' share blocks, which only deepen's own networks"
    ):
        plan_phases(Schedule(phases=(looped,)), batch_tokens=BATCH_TOKENS, context=CONTEXT)


def test_the_phases_cover_the_run_without_gaps(model: ModelConfig):
    phases = plan_phases(stages(model), batch_tokens=BATCH_TOKENS, context=CONTEXT)
    position = 0
    for phase in phases:
        assert phase.start == position
        position += phase.steps * phase.batch_tokens
    assert position == 40 * BATCH_TOKENS
    assert [phase.depth for phase in phases if phase.growth is not None] == [8, 12]
    rates = [phase.lr(step) for phase in phases for step in range(phase.steps)]
    assert rates[:6] == pytest.approx([1e-2 * share for share in (1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1)])
    assert rates[-8:] == pytest.approx([1e-2 * share / 8 for share in range(8, 0, -1)])


@pytest.mark.parametrize("rewarm", ["new-blocks", "all"])
def test_every_step_has_the_rates_of_the_engine(rewarm: str, model: ModelConfig):
    """With a re-warm after each growth, and a decay that is counted in compute."""
    ledger = Ledger(model=model)
    growth = Growth(operator="stack", rewarm_tokens=3 * BATCH_TOKENS, rewarm=rewarm)
    schedule = replace(stages(model), growth=growth, rate=WSD(decay_in="compute", warmup_share=0.1))
    with pytest.raises(InvalidValueError, match="decay_in is 'compute', which needs a ledger"):
        plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT)
    phases = plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT, ledger=ledger)
    in_steps = schedule.in_steps(BATCH_TOKENS, CONTEXT)
    rate = in_steps.rate.in_tokens(in_steps.tokens, lambda share: compute_position(ledger, in_steps, share))
    segments = split_schedule(replace(in_steps, rate=rate), ledger)
    for phase in phases:
        for step in range(phase.steps):
            tokens = phase.start + step * phase.batch_tokens
            segment = next(piece for piece in segments if piece.start <= tokens < piece.end)
            lr, share = segment.rates_at(tokens)
            assert phase.lr(step) == lr
            for block in range(phase.depth):
                rises = block in segment.rewarmed_blocks
                assert phase.lr(step, block) == (lr * share if rises else lr)
    assert sum(segment.rewarm is not None for segment in segments) >= 2


def test_a_recipe_that_grows_a_trained_model_grows_it_in_its_first_phase(model: ModelConfig):
    schedule = expand(model, 4 * BATCH_TOKENS, start_depth=8)
    (phase,) = plan_phases(schedule, batch_tokens=BATCH_TOKENS, context=CONTEXT)
    assert phase.growth is not None and phase.growth.operator == "copy-zero"
    assert len(phase.trained.blocks) == 4


class Nested(nn.Module):
    """Blocks that hold lists of their own, as a mixture of experts does."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(2, 2) for _ in range(2)) for _ in range(depth))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Nested(1), Nested(2)


def test_the_blocks_are_the_only_list_that_is_inside_no_other():
    assert find_blocks(Nested(3)) == "layers"
    assert find_blocks(Nested(0)) == "layers"
    with pytest.raises(InvalidValueError, match=r"it has encoder\.layers, decoder\.layers: name it with blocks"):
        find_blocks(Two())
    with pytest.raises(InvalidValueError, match="it has none"):
        find_blocks(nn.Linear(2, 2))


def test_models_that_do_not_fit_are_refused(model: ModelConfig):
    shallow, growth = make_model(model, 2), Growth(operator="stack")
    wide = make_model(replace(model, width=16, mlp=64), 4)
    with pytest.raises(InvalidValueError, match=r"deeper has token_embedding.weight of shape \[512, 16\], but"):
        grow_model(shallow, wide, growth)
    untied = make_model(replace(model, tied=False), 2)
    with pytest.raises(InvalidValueError, match=r"deeper lacks head\.weight"):
        grow_model(untied, make_model(model, 4), growth)
    with pytest.raises(InvalidValueError, match="deeper has 2 blocks, but the model has 2 already"):
        grow_model(shallow, make_model(model, 2), growth)
    with pytest.raises(InvalidValueError, match="'stack' copies blocks, and the model has none"):
        grow_model(make_model(model, 0), make_model(model, 2), growth)
    with pytest.raises(InvalidValueError, match=r"blocks 'layers' is not an nn\.ModuleList of GPT2"):
        grow_model(shallow, make_model(model, 4), growth, blocks="layers")
    with pytest.raises(InvalidValueError, match="output_projections of the new blocks are zero"):
        grow_model(shallow, make_model(model, 4), Growth(operator="identity"))
    with pytest.raises(InvalidValueError, match=r"output_projections has 'mlp\.up_proj', which no block has"):
        grow_model(shallow, make_model(model, 4), Growth(operator="identity"), output_projections=("mlp.up_proj",))
    with pytest.raises(InvalidValueError, match="model has 2 blocks, but the phase has 4"):
        set_trained_parts(shallow, TrainedParts.all(4))
    deeper, optimizer = make_model(model, 4), torch.optim.AdamW(shallow.parameters())
    with pytest.raises(InvalidValueError, match="deeper_optimizer has a parameter that the deeper model does not"):
        grow_optimizer(optimizer, optimizer, shallow, deeper, growth)

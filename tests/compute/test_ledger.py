"""The ledger against PyTorch's own operator counter, on real models doing real backward passes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from deepen.compute.ledger import Ledger, phase_flops
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.recipes.stages import two_phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.train.optim.make import make_optimizer
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.trainable import freeze_rest
from llama_options import any_options
from short_runs import CPU
from trained_parts import any_choice


def counted(
    model: ModelConfig, trained: TrainedParts, context: int, sequences: int, checkpointing: bool = False
) -> int:
    """FLOPs of one step as FlopCounterMode sees them; it counts fused CPU attention as nothing."""
    network = build(model, trained.depth, trained.layers)
    network.load_state_dict(init_weights(model, trained.depth, seed=0))
    network.activation_checkpointing = checkpointing
    freeze_rest(network, trained)
    tokens = torch.randint(model.vocab, (sequences, context + 1))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logits = network(tokens[:, :-1], cut=trained.cut)
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    return counter.get_total_flops()


Case = tuple[ModelConfig, TrainedParts, int]
"""A model, what is trained of it, and the context."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    family = draw(st.sampled_from(sorted(FAMILIES)))
    groups, kv_heads = draw(st.integers(1, 3 if family == "llama" else 1)), draw(st.integers(1, 3))
    context = draw(st.sampled_from([2, 5, 16]))
    depth = draw(st.integers(1, 5))
    config = ModelConfig(
        name="drawn",
        family=family,
        depth=depth,
        width=groups * kv_heads * draw(st.sampled_from([2, 4])),
        heads=groups * kv_heads,
        kv_heads=kv_heads,
        mlp=draw(st.sampled_from([0, 3, 24])),
        context=context,
        vocab=draw(st.integers(3, 50)),
        tied=draw(st.booleans()),
        **draw(any_options(family, (2, 6))),
    )
    return config, draw(any_choice(depth)), context


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 3), st.booleans())
def test_the_ledger_equals_the_operator_counter(case: Case, sequences: int, checkpointing: bool):
    config, trained, context = case
    ledger = Ledger(model=config, activation_checkpointing=checkpointing).flops_per_token(trained, context)
    assert counted(config, trained, context, sequences, checkpointing) == ledger * sequences * context


@pytest.mark.slow
@pytest.mark.parametrize("trainable", TRAINABLE_SETS.values(), ids=str)
@pytest.mark.parametrize("name", PRESETS)
def test_the_ledger_equals_the_counter_on_every_preset_without_memory(name: str, trainable: Trainable):
    """The 70B model too: on the meta device tensors have shapes and no content."""
    config = PRESETS[name]
    trained = trainable.resolve(config.depth, tuple(range(config.depth // 2, config.depth)))
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network = build(config)
        freeze_rest(network, trained)
        tokens = torch.zeros(1, config.context, dtype=torch.int64)
        F.cross_entropy(network(tokens, cut=trained.cut).flatten(0, 1), tokens.flatten()).backward()
    assert counter.get_total_flops() == config.context * Ledger(model=config).flops_per_token(
        trained, config.context
    )


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 6))
def test_a_step_of_muon_costs_what_the_operator_counter_counts(case: Case, iterations: int):
    config, trained, context = case
    spec = OptimizerSpec.muon(iterations=iterations)
    network = build(config, trained.depth)
    freeze_rest(network, trained)
    optimizer = make_optimizer(network, spec, {}, CPU)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    muon, adamw = Ledger(model=config, optimizer=spec.cost), Ledger(model=config)
    step = (trained, 5 * context, context)
    assert muon.optimizer_products(trained) == counter.get_total_flops()
    assert muon.flops_per_step(*step) - adamw.flops_per_step(*step) == counter.get_total_flops()


def test_a_model_without_blocks_costs_its_head():
    config = ModelConfig(name="flat", depth=2, width=4, heads=1, context=8, vocab=10)
    trained = TrainedParts.all(0)
    assert counted(config, trained, 8, 1) == Ledger(model=config).flops_per_token(trained, 8) * 8


@settings(max_examples=60, deadline=None)
@given(cases())
def test_trainable_parameters_are_those_that_require_a_gradient(case: Case):
    config, trained, _ = case
    network = build(config, trained.depth)
    freeze_rest(network, trained)
    requiring = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert Ledger(model=config).trainable_parameters(trained) == requiring


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans())
def test_parts_add_up_to_the_phase_and_to_the_network(case: Case, checkpointing: bool):
    config, trained, context = case
    ledger = Ledger(model=config, activation_checkpointing=checkpointing)
    each, together = ledger.parts(trained, context), ledger.grouped_parts(trained, context)
    for total in (sum(part.total for part in parts) for parts in (each, together)):
        assert total == ledger.flops_per_token(trained, context)
    for parameters in (sum(part.parameters for part in parts) for parts in (each, together)):
        assert parameters == sum(p.numel() for p in build(config, trained.depth).parameters())
    assert all(
        part.total == 0 and part.bytes > 0 for part in each if "norm" in part.part or part.part == "embeddings"
    )


PADDED = ModelConfig(name="gpt2-124m-padded", depth=12, width=768, heads=12, context=1024, vocab=50304)

REFERENCE = {  # DESIGN section 6: S → staged share by scope; nothing frozen last
    4: {"new-blocks": 0.602, "new-blocks-head": 0.636, "new-blocks-embeddings": 0.689, "all": 0.727},
    8: {"new-blocks": 0.545, "new-blocks-head": 0.585, "new-blocks-embeddings": 0.651, "all": 0.696},
    12: {"new-blocks": 0.513, "new-blocks-head": 0.555, "new-blocks-embeddings": 0.620, "all": 0.666},
}


def test_the_forward_pass_of_gpt2_124m_is_the_reference():
    ledger = Ledger(model=PADDED)
    assert round(12 * ledger.linears_forward() / 1e6, 1) == 169.9
    assert round(12 * ledger.attention_forward(1024) / 1e6, 1) == 37.7
    assert round(ledger.head_forward() / 1e6, 1) == 77.3
    assert round(ledger.flops_per_token(TrainedParts.all(12), 1024) / 1e6, 1) == 854.7


def test_the_reference_table_of_staged_costs():
    ledger = Ledger(model=PADDED)
    steps, batch = 10_000, 524_288
    tokens = steps * batch
    baseline = tokens * ledger.flops_per_token(TrainedParts.all(12), 1024)
    for stages, by_scope in REFERENCE.items():
        for scope, share in by_scope.items():
            schedule = two_phase(PADDED, tokens, staged_tokens=tokens, stages=stages, scope=scope)
            staged = sum(phase_flops(ledger, schedule.in_steps(batch, 1024)))
            assert round(staged / baseline, 3) == share, (stages, scope)


def test_causal_exact_attention_is_half_of_dense_and_a_little():
    dense, exact = Ledger(model=PADDED), Ledger(model=PADDED, causal_exact=True)
    assert exact.attention_forward(1024) / dense.attention_forward(1024) == 1025 / 2048


def test_a_frozen_block_costs_its_forward_pass_or_what_runs_through_it():
    config = PRESETS["gpt2-124m"]
    ledger = Ledger(model=config)
    linears, attention = ledger.linears_forward(), ledger.attention_forward(1024)

    def lowest(trainable: Trainable) -> tuple[int, int]:
        costs = {part.part: part.total for part in ledger.parts(trainable.resolve(2, (1,)), 1024)}
        return costs["block 0 linears"], costs["block 0 attention"]

    assert lowest(Trainable.NEW_BLOCKS) == lowest(Trainable.NEW_BLOCKS_HEAD) == (linears, attention)
    assert lowest(Trainable.NEW_BLOCKS_EMBEDDINGS) == (2 * linears, 3 * attention)


def test_new_blocks_of_a_schedule_are_those_added_last():
    schedule = Schedule(
        phases=tuple(Phase(depth=d, tokens=1, label="", train=Trainable.NEW_BLOCKS) for d in (2, 2, 5, 5, 6))
    )
    assert [trained.blocks for trained in schedule.trained_parts] == [(0, 1), (0, 1), (2, 3, 4), (2, 3, 4), (5,)]


def test_a_gpu_pads_the_head_and_nothing_else():
    trained, ledger = TrainedParts.all(12), Ledger(model=PRESETS["gpt2-124m"])
    added = ledger.computed.flops_per_token(trained, 1024) - ledger.flops_per_token(trained, 1024)
    assert added == 3 * 2 * 768 * (50_304 - 50_257)
    aligned = Ledger(model=PADDED)
    assert aligned.computed == aligned

"""The memory model against PyTorch's own allocator, on real engines taking real steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator import most_alive
from deepen.compute import memory
from deepen.compute.ledger import Ledger
from deepen.compute.memory import choose_micro_batch, phase_memory, timeline
from deepen.compute.memory_settings import MAX_LOGITS, MAX_SEQUENCES, MemorySettings, micro_batch_tokens
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable, TrainedParts
from deepen.study.compile.pieces import split_schedule
from deepen.train.engine import Engine
from deepen.train.optim.spec import STATE_PRECISIONS, OptimizerSpec
from deepen.train.placement import SingleProcess
from deepen.train.settings import PRECISIONS, TrainSettings
from deepen.train.state import initial_state
from llama_options import RELATIVES, any_options
from trained_parts import any_choice

OPTIMIZERS = tuple(
    make(state_precision=precision)
    for make in (OptimizerSpec.adamw, OptimizerSpec.muon)
    for precision in STATE_PRECISIONS
)
BF16_STATE = OptimizerSpec.adamw(state_precision="bf16").cost
PARTS = ("weights", "gradients", "moments", "activations", "logits", "working")


def counted(model: ModelConfig, phase: Phase, trained: TrainedParts, memory: MemorySettings) -> int:
    """Most bytes alive in the second step of a phase, from the allocations and frees of torch's allocator."""
    segment = split_schedule(Schedule(phases=(phase,)), Ledger(model=model))[0]
    random = np.random.RandomState(0).randint(0, model.vocab, 1 << 15).astype(np.uint16)
    engine = Engine(
        initial_state(model, trained.depth, seed=0),
        replace(segment, depth=trained.depth, trains=trained),
        model,
        Batches(Tokens([random]), model.context, seed=0),
        TrainSettings(
            precision=memory.precision,
            optimizer=next(spec for spec in OPTIMIZERS if spec.cost == memory.optimizer),
            micro_batch_tokens=memory.micro_batch_tokens,
            activation_checkpointing=memory.activation_checkpointing,
        ),
        SingleProcess(torch.device("cpu")),
    )
    engine.run(phase.batch_tokens, lambda progress, measured: None)
    kept = [*engine.model.parameters(), *(t for state in engine.optimizer.state.values() for t in state.values())]
    return most_alive(kept, lambda: engine.run(2 * phase.batch_tokens, lambda progress, measured: None))


SHARED = {
    "all blocks": TrainedParts.all(2, layers=(0, 1, 1, 0, 1)),
    "one block": TrainedParts(depth=2, blocks=(1,), head=True, embeddings=False, layers=(0, 0, 1, 0, 1)),
    "norms": TrainedParts(depth=2, blocks=(), head=False, embeddings=False, norms=True, layers=(0, 1, 0, 1)),
}


def a_phase(depth: int, batch_tokens: int, context: int) -> Phase:
    tokens = 4 * batch_tokens
    return Phase(depth=depth, tokens=tokens, batch_tokens=batch_tokens, context=context, label="x")


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    family = draw(st.sampled_from(sorted(FAMILIES)))
    kv_heads, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2)) if family == "llama" else 1
    width = draw(st.sampled_from([96, 128, 192]))  # so that the 100 kB inside CPU kernels do not count
    return ModelConfig(
        name="drawn",
        family=family,
        depth=draw(st.integers(1, 5)),
        width=width,
        heads=kv_heads * groups,
        kv_heads=kv_heads,
        mlp=draw(st.sampled_from([0, 3 * width])),
        context=draw(st.sampled_from([32, 128])),
        vocab=draw(st.sampled_from([256, 4096])),
        tied=draw(st.booleans()),
        **draw(any_options(family, (32, 64))),
    )


def counts_more_than_is_stored(model: ModelConfig, parts: TrainedParts) -> bool:
    """Whether nothing is stored of the lowest layer's attention, which is counted nevertheless (see `memory`)."""
    stores_attention = model.norm_position == "pre" or model.qk_norm != "none" or parts.executed[0] in parts.blocks
    return parts.norms and parts.cut == 0 and not stores_attention


@st.composite
def cases(draw: st.DrawFn) -> tuple[ModelConfig, Phase, TrainedParts, MemorySettings]:
    model = draw(models())
    # With fewer tokens some CPUs' kernels repack a whole table for a product, which is inside the kernel.
    context = max(32, model.context // draw(st.integers(1, 2)))
    sequences = draw(st.sampled_from([1, 2, 3, 8]))
    phase = a_phase(model.depth, sequences * context, context)
    memory = MemorySettings(
        precision=draw(st.sampled_from(PRECISIONS)),
        optimizer=draw(st.sampled_from(OPTIMIZERS)).cost,
        micro_batch_tokens=draw(st.sampled_from([0, context, 2 * context])),
        activation_checkpointing=draw(st.booleans()),
    )
    parts = draw(any_choice(model.depth).filter(lambda parts: not counts_more_than_is_stored(model, parts)))
    return model, phase, parts, memory


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_peak_equals_the_allocators(case: tuple[ModelConfig, Phase, TrainedParts, MemorySettings]):
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "recomputed"])
@pytest.mark.parametrize("parts", SHARED)
def test_layers_that_share_blocks_store_activations_each_and_weights_once(
    parts: str, checkpointing: bool, precision: str
):
    model = ModelConfig(name="x", depth=5, width=128, heads=4, context=64, vocab=256)
    memory = MemorySettings(precision=precision, micro_batch_tokens=128, activation_checkpointing=checkpointing)
    case = model, a_phase(5, 256, 64), SHARED[parts], memory
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.1)


SHAPES = {  # what is most of the memory: sizes, tokens of a batch
    "activations": ({"width": 64, "vocab": 64}, 1024),
    "logits": ({"width": 8, "vocab": 8192}, 512),
    "moments": ({"width": 256, "vocab": 64}, 64),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("most", SHAPES)
def test_the_peak_is_right_whichever_part_is_largest(most: str, family: str, precision: str):
    sizes, batch_tokens = SHAPES[most]
    model = ModelConfig(name="x", family=family, depth=3, heads=4, context=64, **sizes)
    case = model, a_phase(3, batch_tokens, 64), TrainedParts.all(3), MemorySettings(precision=precision)
    memory = phase_memory(*case)
    assert max(PARTS, key=lambda part: getattr(memory, part)) == most
    assert memory.peak == pytest.approx(counted(*case), rel=0.02)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "recomputed"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("relative", RELATIVES)
def test_the_peak_of_llamas_relatives_is_right(relative: str, precision: str, checkpointing: bool):
    sizes = {"width": 64, "heads": 4, "kv_heads": 2, "context": 64, "vocab": 64} | RELATIVES[relative]
    model = ModelConfig(
        name="x", family="llama", depth=3, **sizes | ({"head_dim": 24} if "head_dim" in sizes else {})
    )
    memory = MemorySettings(precision=precision, activation_checkpointing=checkpointing)
    case = model, a_phase(3, 1024, 64), TrainedParts.all(3), memory
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.05)


MOMENTS = {  # when the peak is: sizes, scope, new blocks, tokens of a batch, settings
    "head and loss": (
        {"depth": 1, "width": 256, "vocab": 4096}, Trainable.NEW_BLOCKS_HEAD, (0,), 512, {"precision": "bf16"},
    ),
    "head and loss of a tied table": (
        {"depth": 1, "width": 128, "vocab": 4096}, Trainable.ALL, (), 128,
        {"precision": "bf16", "micro_batch_tokens": 64},
    ),
    "backward of block 2": (
        {"depth": 3, "width": 64, "vocab": 64}, Trainable.NEW_BLOCKS_EMBEDDINGS, (0,), 1024, {},
    ),
    "backward of block 0": (
        {"depth": 5, "width": 128, "vocab": 64}, Trainable.ALL, (), 256, {"activation_checkpointing": True},
    ),
    "optimizer step": (
        {"depth": 1, "width": 256, "vocab": 4096}, Trainable.ALL, (), 64, {"optimizer": BF16_STATE},
    ),
    "optimizer step of a table of positions": (
        {"depth": 1, "width": 128, "vocab": 64, "context": 4096}, Trainable.ALL, (), 64,
        {"optimizer": BF16_STATE},
    ),
    "backward of the embeddings": (
        {"depth": 1, "width": 128, "vocab": 4096}, Trainable.ALL, (), 128, {"micro_batch_tokens": 64},
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_peak_is_right_at_every_moment(moment: str, family: str):
    sizes, trainable, new_blocks, batch_tokens, memory_settings = MOMENTS[moment]
    model = ModelConfig(name="x", family=family, heads=4, **{"context": 64, **sizes})
    trained = trainable.resolve(model.depth, new_blocks)
    case = model, a_phase(model.depth, batch_tokens, 64), trained, MemorySettings(**memory_settings)
    assert moment.startswith(phase_memory(*case).moment)
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.02)


def test_the_worked_example_is_right():
    """The table in the module's docstring, and the sentence below it."""
    model = ModelConfig(name="example", depth=3, width=64, heads=4, context=64, vocab=512)
    case = model, a_phase(3, 1024, 64), TrainedParts.all(3), MemorySettings()
    assert memory.__doc__ is not None
    for moment in timeline(*case):
        numbers = moment.gradients, moment.activations, moment.logits, moment.working
        row = f"    {moment.name:<26}" + "".join(
            f"{round(number / 1e3):>{width}}" for number, width in zip(numbers, (13, 13, 8, 9), strict=True)
        )
        assert row in memory.__doc__
    peak = phase_memory(*case)
    assert (round(peak.weights / 1e3), round(peak.moments / 1e3), round(peak.peak / 1e6, 1)) == (748, 1496, 18.2)
    assert "748 of weights and 1496 of optimizer state the peak is at head and loss, 18.2 MB" in memory.__doc__
    assert peak.moment == "head and loss"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_with_only_the_head_trained_the_peak_is_in_the_forward_pass_of_a_block(family: str, precision: str):
    model = ModelConfig(name="x", family=family, depth=2, width=128, heads=4, context=128, vocab=64, tied=False)
    trained = Trainable.explicit((), head=True).resolve(2, ())
    case = model, a_phase(2, 1024, 128), trained, MemorySettings(precision=precision)
    assert phase_memory(*case).moment == "forward of a block"
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.05)


def test_a_model_without_blocks_needs_the_memory_of_its_head():
    model = ModelConfig(name="flat", depth=2, width=64, heads=2, context=64, vocab=512)
    case = model, a_phase(0, 256, 64), TrainedParts.all(0), MemorySettings()
    assert phase_memory(*case).peak == pytest.approx(counted(*case), rel=0.02)


def test_at_the_end_of_the_backward_pass_every_trained_weight_has_a_gradient():
    model = ModelConfig(name="x", depth=3, width=64, heads=2, context=16, vocab=512, tied=False)
    for trainable in (Trainable.ALL, Trainable.NEW_BLOCKS_EMBEDDINGS):
        parts = trainable.resolve(3, (2,))
        trained = Ledger(model=model).trainable_parameters(parts)
        memory = phase_memory(model, a_phase(3, 16, 16), parts, MemorySettings())
        assert memory.moment == "backward of the embeddings"
        assert (memory.weights, memory.gradients, memory.moments) == (
            4 * model.parameters,
            4 * trained,
            8 * trained,
        )


def test_gradients_exist_from_the_second_micro_batch_on_and_always_with_ddp():
    model = replace(PRESETS["gpt2-124m"], depth=1)
    phase, everything = a_phase(1, 2 * 1024, 1024), TrainedParts.all(1)
    one = phase_memory(model, phase, everything, MemorySettings(micro_batch_tokens=2 * 1024))
    two = phase_memory(model, phase, everything, MemorySettings(micro_batch_tokens=1024))
    replicas = phase_memory(model, phase, everything, MemorySettings(micro_batch_tokens=1024, devices=2))
    blocks = 4 * model.block_parameters
    # At the peak, a single micro-batch has gradients of blocks and head only; a second one finds all gradients.
    assert one.moment == two.moment == "backward of the embeddings"
    assert two.gradients - one.gradients == 4 * model.parameters - blocks
    assert replicas == two  # each device has the same number of tokens at a time


@st.composite
def planned(draw: st.DrawFn) -> tuple[ModelConfig, Phase, TrainedParts, MemorySettings]:
    """Phases of any size: nothing is allocated for a plan."""
    model = draw(st.one_of(models(), st.sampled_from([PRESETS[name] for name in sorted(PRESETS)])))
    sequences = draw(st.integers(1, 64))
    phase = a_phase(model.depth, sequences * model.context, model.context)
    memory = MemorySettings(
        precision=draw(st.sampled_from(PRECISIONS)),
        optimizer=draw(st.sampled_from(OPTIMIZERS)).cost,
        micro_batch_tokens=draw(st.integers(0, 8)) * model.context,
        devices=draw(st.integers(1, 16)),
        sharded=draw(st.booleans()),
        activation_checkpointing=draw(st.booleans()),
        gpu=draw(st.booleans()),
    )
    return model, phase, draw(any_choice(model.depth)), memory


Planned = tuple[ModelConfig, Phase, TrainedParts, MemorySettings]


@given(planned())
def test_no_part_is_negative_and_weights_and_optimizer_state_are_counted(case: Planned):
    model, _, trained, settings = case
    memory = phase_memory(*case)
    shards = settings.devices if settings.sharded else 1
    assert min(getattr(memory, part) for part in PARTS) >= 0
    assert memory.weights >= 4 * model.parameters // shards
    trained = Ledger(model=model, optimizer=settings.optimizer).optimizer_state_bytes(trained)
    assert memory.moments == pytest.approx(trained / shards, abs=8)


@given(planned(), st.integers(1, 16))
def test_sharding_over_more_devices_never_needs_more_memory_on_each(case: Planned, more: int):
    *phase, settings = case
    few = replace(settings, sharded=True)
    many = replace(few, devices=few.devices + more)
    assert phase_memory(*phase, many).peak <= phase_memory(*phase, few).peak


@given(planned())
def test_activation_checkpointing_never_needs_more_memory(case: Planned):
    *phase, settings = case
    without, saved = (replace(settings, activation_checkpointing=on) for on in (False, True))
    assert phase_memory(*phase, saved).peak <= phase_memory(*phase, without).peak


@given(planned(), st.sets(st.integers(0, 96)))
def test_training_fewer_parts_never_needs_more_memory(case: Planned, new_blocks: set[int]):
    model, phase, _, settings = case
    new_blocks = tuple(sorted(new_blocks & set(range(model.depth)) or {0}))

    def peak(trainable: Trainable) -> int:
        return phase_memory(model, phase, trainable.resolve(model.depth, new_blocks), settings).peak

    cut = [Trainable.NEW_BLOCKS, Trainable.NEW_BLOCKS_HEAD]
    peaks = [peak(trainable) for trainable in (*cut, Trainable.NEW_BLOCKS_EMBEDDINGS, Trainable.ALL)]
    assert peaks == sorted(peaks)


@given(st.integers(0, 1 << 22), st.integers(1, 1 << 10), st.integers(1, 1 << 14), st.integers(1, 1 << 18))
def test_a_micro_batch_is_whole_sequences_within_the_batch(asked: int, sequences: int, context: int, vocab: int):
    tokens = micro_batch_tokens(asked, sequences * context, context, vocab)
    assert tokens % context == 0 and context <= tokens <= sequences * context
    if tokens > context:
        assert tokens <= asked if asked else tokens * vocab <= MAX_LOGITS


GPT2 = PRESETS["gpt2-124m"]


def gpu_sequences(gigabytes: float, sequences: int = 512, **settings: Any) -> int:
    """Sequences of a micro-batch of GPT-2 124M in bf16 on a GPU, for a batch of so many."""
    memory = MemorySettings(precision="bf16", gpu=True, device_bytes=round(gigabytes * 1e9), **settings)
    phase = Phase(depth=12, tokens=0, label="", batch_tokens=sequences * 1024, context=1024)
    trained = TrainedParts.all(12)
    tokens = choose_micro_batch(GPT2, phase, trained, memory)
    assert phase_memory(GPT2, phase, trained, memory) == phase_memory(
        GPT2, phase, trained, replace(memory, micro_batch_tokens=tokens)
    )
    return tokens // 1024


def test_a_gpu_takes_as_many_sequences_as_half_of_its_memory_holds():
    assert [gpu_sequences(each) for each in (192, 80, 24, 1)] == [64, 64, 16, 1]
    assert gpu_sequences(80, micro_batch_tokens=5 * 1024) == 5
    assert gpu_sequences(24, activation_checkpointing=True) > 16
    assert gpu_sequences(0) == MAX_LOGITS // GPT2.vocab // 1024 == 5  # not known


@given(st.integers(1, 600), st.sampled_from([4, 8, 16, 24, 80]), st.sampled_from([1, 2, 8]))
def test_a_micro_batch_of_a_gpu_divides_its_share_and_is_the_largest_that_fits(
    sequences: int, gigabytes: int, devices: int
):
    taken, share = gpu_sequences(gigabytes, sequences, devices=devices), -(-sequences // devices)
    assert share % taken == 0 and taken <= MAX_SEQUENCES

    def fits(size: int) -> bool:
        memory = MemorySettings(precision="bf16", gpu=True, micro_batch_tokens=size * 1024, devices=devices)
        phase = Phase(depth=12, tokens=0, label="", batch_tokens=sequences * 1024, context=1024)
        return 2 * phase_memory(GPT2, phase, TrainedParts.all(12), memory).peak <= gigabytes * 10**9

    assert taken == 1 or fits(taken)
    assert not any(share % size == 0 and fits(size) for size in range(taken + 1, min(MAX_SEQUENCES, share) + 1))

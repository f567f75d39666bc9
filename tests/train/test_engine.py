"""The engine: exact when interrupted, exact about what is frozen, and stopped before bad updates."""

import math
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.evaluate.validation import validation_loss
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.rate import WSD
from deepen.schedule.recipes.stages import two_phase
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.engine import Engine
from deepen.train.errors import TrainingError
from deepen.train.optim.make import make_optimizer
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.progress import Progress
from deepen.train.read_back import ImmediateReadBack, LateReadBack
from deepen.train.segment import Segment
from deepen.train.settings import PRECISIONS, TrainSettings
from deepen.train.state import TrainState, initial_state
from deepen.train.trainable import freeze_rest
from short_runs import CPU, discard, is_same

AROUND_THE_BLOCKS = {  # what is trained besides the new blocks, by whether the head is tied
    True: {
        Trainable.NEW_BLOCKS: set(),
        Trainable.NEW_BLOCKS_HEAD: {"norm", "token_embedding"},
        Trainable.NEW_BLOCKS_EMBEDDINGS: {"norm", "token_embedding", "position_embedding"},
        Trainable.ALL: {"norm", "token_embedding", "position_embedding"},
    },
    False: {
        Trainable.NEW_BLOCKS: set(),
        Trainable.NEW_BLOCKS_HEAD: {"norm", "head"},
        Trainable.NEW_BLOCKS_EMBEDDINGS: {"norm", "head", "token_embedding", "position_embedding"},
        Trainable.ALL: {"norm", "head", "token_embedding", "position_embedding"},
    },
}


def declared(names: Iterable[str], model: ModelConfig, trainable: Trainable, trained: TrainedParts) -> set[str]:
    """The parameters that should be trained, of those named."""
    blocks = {f"blocks.{index}" for index in trained.blocks}
    parts = tuple(f"{part}." for part in blocks | AROUND_THE_BLOCKS[model.tied][trainable])
    return {name for name in names if name.startswith(parts)}


def growing_segments(model: ModelConfig, trainable: Trainable = Trainable.NEW_BLOCKS) -> list[Segment]:
    """A growing run of 40 steps: three stages, both phases, continual training, warm-up and decay."""
    schedule = two_phase(model, 40 * 32, staged_tokens=24 * 32, stages=3, scope=trainable.name)
    schedule = replace(schedule, rate=WSD(peak=1e-2, warmup_tokens=3 * 32)).in_steps(32, 16)
    return split_schedule(schedule, Ledger(model=model))


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
            engine = Engine(begin_segment(state, segment, model), segment, model, batches, settings, CPU)
            engine.run(until, discard)
            state = engine.state()
    return state


@pytest.fixture(scope="module")
def uncut(model: ModelConfig, dataset: Dataset) -> TrainState:
    return train(growing_segments(model), model, dataset)


@pytest.mark.slow
@pytest.mark.parametrize("cut", range(32, 40 * 32, 32))
def test_a_run_cut_at_any_step_equals_an_uncut_run(
    cut: int, uncut: TrainState, model: ModelConfig, dataset: Dataset
):
    assert is_same(train(growing_segments(model), model, dataset, cut=cut), uncut)


@pytest.fixture(scope="module")
def uncut_llama(llama: ModelConfig, dataset: Dataset) -> TrainState:
    return train(growing_segments(llama, Trainable.NEW_BLOCKS_HEAD), llama, dataset)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 8, 10, 37], ids=["warming up", "growing", "part frozen", "decaying"])
def test_a_llama_run_cut_at_a_critical_step_equals_an_uncut_run(
    steps: int, uncut_llama: TrainState, llama: ModelConfig, dataset: Dataset
):
    assert is_same(
        train(growing_segments(llama, Trainable.NEW_BLOCKS_HEAD), llama, dataset, cut=32 * steps), uncut_llama
    )


@pytest.mark.parametrize(
    "trainable", [each for each in TRAINABLE_SETS.values() if each is not Trainable.ALL], ids=str
)
def test_in_phase_1_what_is_frozen_stays_to_the_bit_and_the_rest_moves(
    trainable: Trainable, any_model: ModelConfig, dataset: Dataset
):
    segments = growing_segments(any_model, trainable)
    at = next(index for index, segment in enumerate(segments) if segment.trains != TrainedParts.all(segment.depth))
    segment, batches = segments[at], Batches(dataset.tokens("train"), 16, seed=0)
    grown = begin_segment(train(segments[:at], any_model, dataset), segment, any_model)
    engine = Engine(grown, segment, any_model, batches, TrainSettings(), CPU)
    engine.run(segment.end, discard)
    after = engine.state()
    trained = declared(grown.weights, any_model, trainable, segment.trains)
    moved = {name for name, weight in grown.weights.items() if not torch.equal(weight, after.weights[name])}
    assert moved == trained and 0 < len(trained) < len(grown.weights)
    assert all(after.moments[n] is grown.moments[n] for n in grown.moments if n not in trained)
    assert all(after.moments[n]["step"] == grown.moments.get(n, {"step": 0})["step"] + 4 for n in trained)


@pytest.mark.parametrize("trainable", TRAINABLE_SETS.values(), ids=str)
@pytest.mark.parametrize("new", [(2, 3), (0,), (1, 3)])
def test_parameters_with_a_gradient_are_the_declared_ones(
    trainable: Trainable, new: tuple[int, ...], any_model: ModelConfig
):
    network = build(any_model, 4)
    network.load_state_dict(init_weights(any_model, 4, seed=0))
    trained = trainable.resolve(4, new)
    freeze_rest(network, trained)
    logits = network(torch.arange(16).view(1, 16), cut=trained.cut)
    F.cross_entropy(logits.flatten(0, 1), torch.arange(16)).backward()
    moved = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert moved == declared(network.state_dict(), any_model, trainable, trained)


def gradient_rows(model: ModelConfig, trainable: Trainable) -> dict[str, set[int]]:
    """The rows with a gradient in each matrix of the vocabulary: the input is token 0, the head is read at 5."""
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    trained = trainable.resolve(2, (1,))
    freeze_rest(network, trained)
    network(torch.zeros(1, 16, dtype=torch.int64), cut=trained.cut)[..., 5].sum().backward()
    matrices = [(name, p.grad) for name, p in network.named_parameters() if len(p) == model.vocab]
    return {
        name: set() if gradient is None else set(gradient.any(dim=1).nonzero().flatten().tolist())
        for name, gradient in matrices
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tied_matrix_learns_through_the_head_alone_unless_the_embeddings_learn(family: str, model: ModelConfig):
    tied = replace(model, family=family)
    rows = {each: gradient_rows(tied, each)["token_embedding.weight"] for each in TRAINABLE_SETS.values()}
    assert rows == {
        Trainable.NEW_BLOCKS: set(),
        Trainable.NEW_BLOCKS_HEAD: {5},
        Trainable.NEW_BLOCKS_EMBEDDINGS: {0, 5},
        Trainable.ALL: {0, 5},
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untied_embedding_learns_through_the_input_and_its_head_through_the_output(
    family: str, model: ModelConfig
):
    untied = replace(model, family=family, tied=False)
    rows = {each: gradient_rows(untied, each) for each in TRAINABLE_SETS.values()}
    assert rows == {
        Trainable.NEW_BLOCKS: {"token_embedding.weight": set(), "head.weight": set()},
        Trainable.NEW_BLOCKS_HEAD: {"token_embedding.weight": set(), "head.weight": {5}},
        Trainable.NEW_BLOCKS_EMBEDDINGS: {"token_embedding.weight": {0}, "head.weight": {5}},
        Trainable.ALL: {"token_embedding.weight": {0}, "head.weight": {5}},
    }


@pytest.mark.parametrize("trainable", TRAINABLE_SETS.values(), ids=str)
def test_every_trainable_parameter_is_in_one_group_with_the_right_decay(
    trainable: Trainable, any_model: ModelConfig
):
    network = build(any_model, 3)
    freeze_rest(network, trainable.resolve(3, (2,)))
    groups = make_optimizer(network, OptimizerSpec.adamw(weight_decay=0.1), {}, CPU).param_groups
    placed = [(id(p), group["weight_decay"]) for group in groups for p in group["params"]]
    expected = [(id(p), 0.1 if p.dim() >= 2 else 0.0) for p in network.parameters() if p.requires_grad]
    assert sorted(placed) == sorted(expected)


def test_the_epsilon_of_blocks_is_divided_by_the_depth_as_their_branches_are(any_model: ModelConfig):
    scaled = replace(any_model, parametrization="depth-mup")
    network, spec = build(scaled, 3), OptimizerSpec.adamw(epsilon=6e-8)
    groups = make_optimizer(network, spec, {}, CPU, branch_scale=network.branch_scale).param_groups
    epsilons = {id(p): group["eps"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert epsilons[id(parameter)] == pytest.approx(2e-8 if name.startswith("blocks.") else 6e-8), name


def test_each_parameter_counts_its_own_steps(uncut: TrainState):
    first, last = (uncut.moments[f"blocks.{i}.mlp.up.weight"]["step"].item() for i in (0, 11))
    assert first == 40 - 8 and last == 40 - 16  # two phases of 4 steps frozen; born after 16 steps


@pytest.mark.slow
def test_micro_batches_change_rounding_only(uncut: TrainState, model: ModelConfig, dataset: Dataset):
    split = train(growing_segments(model), model, dataset, settings=TrainSettings(micro_batch_tokens=16))
    for name, weight in uncut.weights.items():
        assert torch.allclose(weight, split.weights[name], atol=1e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_activation_checkpointing_changes_no_bit_of_a_run(
    precision: str, any_model: ModelConfig, dataset: Dataset
):
    segments = growing_segments(any_model, Trainable.NEW_BLOCKS_HEAD)[:3]  # whole, grown, part frozen
    stored, recomputed = (
        train(
            segments,
            any_model,
            dataset,
            settings=TrainSettings(precision=precision, activation_checkpointing=choice),
        )
        for choice in (False, True)
    )
    assert is_same(stored, recomputed)


def test_an_engine_recomputes_the_trained_blocks_if_the_settings_ask_for_it(llama: ModelConfig, dataset: Dataset):
    segment = growing_segments(llama)[2]  # blocks 4 to 7 learn
    settings = TrainSettings(activation_checkpointing=True)
    state = replace(initial_state(llama, 8, seed=0), progress=Progress(tokens=segment.start))
    engine = Engine(state, segment, llama, Batches(dataset.tokens("train"), 16, seed=0), settings, CPU)
    runs = Counter[int]()
    for index, block in enumerate(engine.model.blocks):
        block.register_forward_pre_hook(lambda *_, index=index: runs.update([index]))
    engine.run(segment.start + 32, discard)
    assert runs == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}


@pytest.mark.slow
def test_training_learns(
    uncut: TrainState, uncut_llama: TrainState, model: ModelConfig, llama: ModelConfig, dataset: Dataset
):
    inputs, targets = Batches(dataset.tokens("train"), 16, seed=9).at(0, 64 * 16, 16)

    def loss(config: ModelConfig, state: TrainState) -> float:
        network = build(config, state.depth)
        network.load_state_dict(dict(state.weights))
        with torch.no_grad():
            return F.cross_entropy(network(inputs).flatten(0, 1), targets.flatten()).item()

    for config, trained in ((model, uncut), (llama, uncut_llama)):
        assert loss(config, trained) < loss(config, initial_state(config, 12, seed=0)) - 0.3


def test_a_loss_that_is_not_finite_stops_before_the_update(model: ModelConfig, dataset: Dataset):
    state, segment = initial_state(model, 4, seed=0), growing_segments(model)[0]
    state.weights["blocks.0.mlp.up.weight"][0, 0] = float("nan")
    engine = Engine(state, segment, model, Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(), CPU)
    with pytest.raises(TrainingError, match="step 1 "):
        engine.run(segment.end, discard)
    assert torch.equal(engine.state().weights["blocks.1.mlp.up.weight"], state.weights["blocks.1.mlp.up.weight"])


def test_bf16_trains_too(model: ModelConfig, dataset: Dataset):
    state = train(growing_segments(model)[:2], model, dataset, settings=TrainSettings(precision="bf16"))
    assert all(weight.dtype is torch.float32 and weight.isfinite().all() for weight in state.weights.values())


@pytest.mark.slow
def test_numbers_read_back_late_are_the_same_numbers(model: ModelConfig, dataset: Dataset):
    """As on a GPU, where reading immediately would wait for the device."""
    batches, segments = Batches(dataset.tokens("train"), 16, seed=0), growing_segments(model)
    states, logs = [], []
    for read_back in (ImmediateReadBack, LateReadBack):
        state, logged = initial_state(model, segments[0].depth, seed=0), []
        for segment in segments:
            state = begin_segment(state, segment, model)
            engine = Engine(state, segment, model, batches, TrainSettings(), CPU, read_back)
            engine.run(segment.end, lambda progress, measured, to=logged: to.append((progress.tokens, measured)))
            state = engine.state()
        states.append(state)
        logs.append(logged)
    assert is_same(*states)
    assert logs[0] == logs[1]


def test_read_back_late_nothing_moves_after_a_step_that_is_not_finite(model: ModelConfig, dataset: Dataset):
    batches, segment = Batches(dataset.tokens("train"), 16, seed=0), growing_segments(model)[0]
    fresh = begin_segment(initial_state(model, segment.depth, seed=0), segment, model)
    states, errors = [], []
    for read_back in (ImmediateReadBack, LateReadBack):
        engine = Engine(fresh, segment, model, batches, TrainSettings(), CPU, read_back)
        engine.run(segment.start + 64, discard)
        before = engine.state()
        overflow = engine.model.blocks[0].mlp.up.register_full_backward_hook(
            lambda module, inputs, outputs: tuple(None if each is None else each * math.inf for each in inputs)
        )
        with pytest.raises(TrainingError, match="step 3 ") as raised:
            engine.run(segment.end, discard)
        overflow.remove()
        errors.append(str(raised.value))
        states.append(engine.state())
        assert is_same(states[-1], before)
    assert errors[0] == errors[1]
    assert is_same(*states)


def test_a_step_reads_nothing_back(model: ModelConfig, dataset: Dataset):
    """On a GPU each read would wait for the queue; late read-back reads only the numbers of the previous step."""
    batches, segment = Batches(dataset.tokens("train"), 16, seed=0), growing_segments(model)[0]
    fresh = begin_segment(initial_state(model, segment.depth, seed=0), segment, model)
    reads = Counter[str]()

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            reads[str(operation)] += 1
            return operation(*args, **(kwargs or {}))

    engine = Engine(fresh, segment, model, batches, TrainSettings(), CPU, LateReadBack)
    with Reads():
        engine.run(segment.start + 64, discard)
    assert reads["aten._local_scalar_dense.default"] == 0 and reads["aten._fused_adamw_.default"] > 0
    assert not any("nonzero" in name for name in reads)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs a C++ compiler")
def test_a_compiled_network_that_grows_needs_no_new_graph(model: ModelConfig, dataset: Dataset):
    """Graphs are compiled when blocks are first trained and when blocks are first frozen, and never again."""
    batches, settings, graphs = Batches(dataset.tokens("train"), 16, seed=0), TrainSettings(compile="yes"), []
    segments, losses = growing_segments(model), dict[str, list[float]](yes=[], no=[])
    torch._dynamo.reset()
    for how, logged in losses.items():
        state = initial_state(model, segments[0].depth, seed=0)
        for segment in segments:
            state = begin_segment(state, segment, model)
            engine = Engine(state, segment, model, batches, replace(settings, compile=how), CPU)
            engine.run(segment.end, lambda progress, measured, to=logged: to.append(measured["loss"]))
            validation_loss(
                engine, dataset.tokens("validation"), 50 * 16, 16, device=CPU.device, batch_tokens=20 * 16
            )
            for length in (5, 9, 13):  # tasks come in all lengths
                engine.token_scores(*torch.zeros(2, 3, length, dtype=torch.int64))
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
            state = engine.state()
    stages = [segment.depth for segment in segments]
    assert stages == [4, 4, 8, 8, 12, 12, 12]
    assert 0 < graphs[0] == graphs[1] < graphs[2] and graphs[2:] == [graphs[2]] * (2 * len(segments) - 2)
    assert losses["yes"] == pytest.approx(losses["no"], rel=1e-3)

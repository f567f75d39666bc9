"""Layers that share blocks compute what as many separate, equal blocks compute, and train as their sum."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.growth.grow import grow_by
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import DeepenCheckpoint
from deepen.interop.export import export_hugging_face
from deepen.interop.load import load_model, load_state
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.schedule.trainable import Trainable
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.state_files import open_files, write_files
from deepen.train.engine import Engine
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from short_runs import BATCH_TOKENS, CONTEXT, CPU, discard, is_same, short_segment

LAYERS = (0, 1, 1, 2, 0, 1)
BLOCKS = max(LAYERS) + 1


def tied_segment(model: ModelConfig, trainable: Trainable = Trainable.ALL) -> Segment:
    return replace(short_segment(model), depth=BLOCKS, trains=trainable.resolve(BLOCKS, (2,), LAYERS))


def tied_engine(model: ModelConfig, segment: Segment, data: Dataset, state: TrainState, **how: object) -> Engine:
    batches = Batches(data.tokens("train"), CONTEXT, seed=0)
    return Engine(begin_segment(state, segment, model), segment, model, batches, TrainSettings(**how), CPU)


@pytest.mark.parametrize("parametrization", ["standard", "depth-mup"])
def test_the_logits_are_those_of_equal_blocks_and_the_gradients_their_sum(
    any_model: ModelConfig, parametrization: str
):
    model = replace(any_model, depth=len(LAYERS), parametrization=parametrization)
    state = initial_state(model, BLOCKS, seed=0)
    untied = Growth(operator="untie").resolve(BLOCKS, len(LAYERS), LAYERS)
    unrolled = grow_by(state, untied, model)
    tied, separate = build(model, BLOCKS, LAYERS), build(model)
    tied.load_state_dict(state.weights)
    separate.load_state_dict(unrolled.weights)
    tokens_bt = torch.randint(model.vocab, (2, CONTEXT))
    assert torch.equal(tied(tokens_bt), separate(tokens_bt))
    for network in (tied, separate):
        network(tokens_bt, tokens_bt).backward()
    gradients = dict(separate.named_parameters())
    for name, parameter in tied.named_parameters():
        _, block, inner = name.split(".", 2) if name.startswith("blocks.") else ("", "", name)
        names = [f"blocks.{n}.{inner}" for n, of in enumerate(LAYERS) if str(of) == block] or [name]
        summed = sum(gradients[each].grad for each in names)
        torch.testing.assert_close(parameter.grad, summed, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["stored", "recomputed"])
@pytest.mark.parametrize("trainable", [Trainable.ALL, Trainable.NEW_BLOCKS, Trainable.explicit((1,), norms=True)])
def test_an_interrupted_run_continues_to_the_bit(
    trainable: Trainable, checkpointing: bool, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    segment = tied_segment(model, trainable)
    first = tied_engine(
        model, segment, dataset, initial_state(model, BLOCKS, seed=0), activation_checkpointing=checkpointing
    )
    first.run(2 * BATCH_TOKENS, discard)
    write_files(first.state(), tmp_path, logs={})
    first.run(5 * BATCH_TOKENS, discard)
    stored = open_files(tmp_path).load()
    again = tied_engine(model, segment, dataset, stored, activation_checkpointing=checkpointing)
    again.run(5 * BATCH_TOKENS, discard)
    assert is_same(first.state(), again.state())
    assert first.state().layers == open_files(tmp_path).layers == LAYERS


def test_recomputing_activations_changes_no_bit(model: ModelConfig, dataset: Dataset):
    states = []
    for checkpointing in (False, True):
        engine = tied_engine(
            model,
            tied_segment(model),
            dataset,
            initial_state(model, BLOCKS, seed=0),
            activation_checkpointing=checkpointing,
        )
        engine.run(2 * BATCH_TOKENS, discard)
        states.append(engine.state())
    assert is_same(*states)


@pytest.fixture
def trained(any_model: ModelConfig, dataset: Dataset, tmp_path: Path) -> tuple[Engine, DeepenCheckpoint]:
    """A network with tied layers after two steps, and its checkpoint."""
    engine = tied_engine(any_model, tied_segment(any_model), dataset, initial_state(any_model, BLOCKS, seed=0))
    engine.run(2 * BATCH_TOKENS, discard)
    (tmp_path / "state").mkdir()
    write_files(engine.state(), tmp_path / "state", logs={})
    checkpoint = DeepenCheckpoint(
        folder=tmp_path / "state",
        model=replace(any_model, depth=len(LAYERS)),
        seed=0,
        progress=engine.progress,
        tokenizer=None,
        history=(),
        layers=LAYERS,
    )
    return engine, checkpoint


def test_a_checkpoint_is_read_and_exported_with_a_block_for_each_layer(
    trained: tuple[Engine, DeepenCheckpoint], tmp_path: Path
):
    pytest.importorskip("transformers")
    engine, checkpoint = trained
    export_hugging_face(checkpoint, tmp_path / "exported")
    tokens_bt = torch.randint(checkpoint.model.vocab, (2, CONTEXT))
    with torch.no_grad():
        ours = engine.model(tokens_bt)
        assert torch.equal(load_model(checkpoint)(tokens_bt), ours)
        assert torch.equal(load_model(find_checkpoint(tmp_path / "exported"))(tokens_bt), ours)


def test_the_blocks_of_a_checkpoint_have_copies_of_the_moments(trained: tuple[Engine, DeepenCheckpoint]):
    engine, checkpoint = trained
    moments, unrolled = engine.state().moments, load_state(checkpoint)
    assert unrolled.layers == () and unrolled.depth == len(LAYERS)
    for layer, block in enumerate(LAYERS):
        own, shared = unrolled.moments[f"blocks.{layer}.mlp.up.weight"], moments[f"blocks.{block}.mlp.up.weight"]
        assert own.keys() == shared.keys() and all(torch.equal(own[key], shared[key]) for key in own)


def test_untying_changes_no_logit_and_each_copy_has_the_moments_of_its_block(
    trained: tuple[Engine, DeepenCheckpoint],
):
    engine, checkpoint = trained
    state = engine.state()
    model = checkpoint.model
    step = Growth(operator="untie", moments="copy").resolve(BLOCKS, len(LAYERS), LAYERS)
    segment = replace(
        short_segment(model), growth=step, start=state.progress.tokens, depth=len(LAYERS), label="untied"
    )
    untied = begin_segment(state, segment, model)
    assert untied.layers == () and is_same(
        replace(untied, recent_losses=()), replace(load_state(checkpoint), recent_losses=())
    )
    network = build(model)
    network.load_state_dict(untied.weights)
    tokens_bt = torch.randint(model.vocab, (2, CONTEXT))
    with torch.no_grad():
        assert torch.equal(network(tokens_bt), engine.model(tokens_bt))

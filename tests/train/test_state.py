"""A state is a value that training and sending never change."""

import pickle
from dataclasses import replace

import torch

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.train.progress import Progress
from short_runs import BATCH_TOKENS, discard, short_engine


def test_progress_adds_up_step_by_step():
    once = Progress().advance(tokens=32, flops=10, seconds=0.5)
    assert once.advance(tokens=64, flops=20, seconds=0.25) == Progress(tokens=96, step=2, flops=30, seconds=0.75)


def test_a_skeleton_has_everything_but_the_numbers(model: ModelConfig, dataset: Dataset):
    engine = short_engine(replace(model, depth=2), dataset.tokens("train"))
    engine.run(2 * BATCH_TOKENS, discard)
    state = engine.state()
    sent = pickle.loads(pickle.dumps(state.skeleton()))
    assert (sent.depth, sent.seed, sent.progress) == (state.depth, state.seed, state.progress)
    pairs = [(sent.weights[name], weight) for name, weight in state.weights.items()]
    pairs += [(sent.moments[n][key], value) for n, kept in state.moments.items() for key, value in kept.items()]
    assert all(empty.is_meta and empty.shape == full.shape and empty.dtype == full.dtype for empty, full in pairs)
    assert len(pickle.dumps(sent)) < sum(full.nbytes for _, full in pairs) / 2
    assert not any(weight.is_meta for weight in state.weights.values())


def test_an_engine_does_not_change_the_state_that_it_began_with(model: ModelConfig, dataset: Dataset):
    engine = short_engine(replace(model, depth=2), dataset.tokens("train"))
    before = engine.state()
    copies = {name: weight.clone() for name, weight in before.weights.items()}
    continued = short_engine(replace(model, depth=2), dataset.tokens("train"), before)
    continued.run(2 * BATCH_TOKENS, discard)
    assert all(torch.equal(before.weights[name], copy) for name, copy in copies.items())

"""Tensors under Hugging Face's names and under ours."""

import pytest
import torch

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.names import from_hugging_face, to_hugging_face
from deepen.model.build import init_weights
from deepen.model.config import ModelConfig


def test_there_and_back_gives_the_same_tensors_whole_or_block_by_block(any_model: ModelConfig):
    weights = init_weights(any_model, 2, seed=0)
    theirs = to_hugging_face(any_model, weights)
    assert len(theirs) == len(weights)
    back = from_hugging_face(any_model, theirs)
    assert back.keys() == weights.keys() and all(torch.equal(back[name], weights[name]) for name in weights)
    one_by_one = {
        name: tensor
        for each in theirs
        for name, tensor in from_hugging_face(any_model, {each: theirs[each]}).items()
    }
    assert one_by_one.keys() == weights.keys()


def test_buffers_and_tied_heads_are_left_out_and_the_prefix_is_optional(model: ModelConfig):
    weights = init_weights(model, 1, seed=0)
    theirs = {
        name.removeprefix("transformer."): weight for name, weight in to_hugging_face(model, weights).items()
    }
    theirs["h.0.attn.bias"] = theirs["h.0.attn.masked_bias"] = torch.ones(1)
    theirs["lm_head.weight"] = theirs["wte.weight"]
    assert from_hugging_face(model, theirs).keys() == weights.keys()


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.experts.0.up_proj.weight", "model.layers.0.nothing", "vision.weight"]
)
def test_a_tensor_that_the_model_does_not_have_is_refused(name: str, llama: ModelConfig):
    with pytest.raises(InvalidValueError, match="its config does not describe"):
        from_hugging_face(llama, {name: torch.ones(1)})


def test_a_parameter_of_another_family_is_refused(llama: ModelConfig):
    with pytest.raises(InvalidValueError, match="is not a parameter of this family"):
        to_hugging_face(llama, {"position_embedding.weight": torch.ones(1)})

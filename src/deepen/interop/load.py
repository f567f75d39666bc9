"""Load weights and tokenizer of a checkpoint: ours, or a Hugging Face folder of a family that deepen trains."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from safetensors import safe_open
from torch import Tensor

from deepen.data.tokenizer_check import ORDINARY_TEXT, check_encoding, missing_tokenizer
from deepen.data.tokenizers import Tokenizer, load_tokenizer
from deepen.errors import InvalidValueError
from deepen.growth.grow import grow_by
from deepen.growth.layout import follow_layout
from deepen.growth.spec import GrowthStep
from deepen.interop.checkpoint import Checkpoint, DeepenCheckpoint, HuggingFaceCheckpoint
from deepen.interop.hugging_face.block_list import find_section
from deepen.interop.hugging_face.names import from_hugging_face
from deepen.interop.hugging_face.weight_files import find_tensors
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.train.checkpoint.state_files import read_files
from deepen.train.state import TrainState


def load_state(checkpoint: Checkpoint) -> TrainState:
    """The training state of a checkpoint; that of a Hugging Face folder has no moments, and no progress.

    Layers that share blocks become blocks of their own, with copies of the moments: the same function.

    Returns:
        Weights in fp32 on the CPU, by our names.

    Raises:
        InvalidValueError: deepen does not train its model, or its files are damaged or incomplete.
    """
    if isinstance(checkpoint, DeepenCheckpoint):
        state = read_files(checkpoint.folder)
        if not state.layers:
            return state
        untied = GrowthStep(blocks=follow_layout(state.layers, state.depth), moments="copy")
        return replace(grow_by(state, untied, checkpoint.model), layers=())
    weights = _load_weights(checkpoint)
    return TrainState(weights=weights, depth=checkpoint.model.depth, seed=0)


def load_model(checkpoint: Checkpoint) -> Decoder:
    """The network of a checkpoint on the CPU, in fp32, for evaluation."""
    with torch.device("meta"):
        model = build(checkpoint.model)
    model.load_state_dict(load_state(checkpoint).weights, assign=True)
    return model.requires_grad_(False).eval()


def load_checkpoint_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a checkpoint, also of a model that deepen does not train.

    Raises:
        InvalidValueError: there is none, it does not encode text, or it has tokens that the model does not have.
    """
    if checkpoint.tokenizer is None:
        raise missing_tokenizer(checkpoint.folder)
    vocab: int | None
    if isinstance(checkpoint, DeepenCheckpoint):
        vocab = checkpoint.model.vocab
    else:
        vocab = find_section(checkpoint.config).get("vocab_size")
    tokenizer = load_tokenizer(checkpoint.tokenizer, vocab)
    check_encoding(checkpoint.tokenizer, tokenizer.encode(ORDINARY_TEXT), tokenizer.unknown)
    return tokenizer


def _load_weights(checkpoint: HuggingFaceCheckpoint) -> dict[str, Tensor]:
    model = checkpoint.model
    tensors: dict[str, Tensor] = {}
    stored = find_tensors(checkpoint.folder)
    for path in dict.fromkeys(tensor.path for tensor in stored.values()):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is not a mapping)
                if name in stored and stored[name].path == path:
                    tensors |= from_hugging_face(model, {name: file.get_tensor(name)})
    weights = {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
    _check_shapes(checkpoint, model, weights)
    return weights


def _check_shapes(checkpoint: HuggingFaceCheckpoint, model: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Raise an InvalidValueError unless the weights are exactly those of the model."""
    with torch.device("meta"):
        expected = build(model).state_dict()
    for name in expected.keys() | weights.keys():
        if name not in weights:
            problem = f"has no tensor for {name}"
        elif name not in expected:
            problem = f"has a tensor {name}, which its config.json does not describe"
        elif weights[name].shape != expected[name].shape:
            has, needs = tuple(weights[name].shape), tuple(expected[name].shape)
            problem = f"has {name} of shape {has}, but its config.json describes {needs}"
        else:
            continue
        raise InvalidValueError(
            f"{checkpoint.folder} {problem}", field="checkpoint", value=checkpoint.folder, remedy="copy it again"
        )

"""Load weights and tokenizer of a checkpoint: ours, or a Hugging Face folder of a family that deepen trains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
from deepen.model.lazy import LazyTensor, LazyTensors, select_rows
from deepen.train.checkpoint.state_files import open_files
from deepen.train.state import TrainState


def load_state(checkpoint: Checkpoint) -> TrainState:
    """The training state of a checkpoint, as `open_state` opens it, with all its tensors in memory."""
    return open_state(checkpoint).load()


def open_state(checkpoint: Checkpoint) -> TrainState:
    """The training state of a checkpoint; that of a Hugging Face folder has no moments, and no progress.

    Layers that share blocks become blocks of their own, with copies of the moments: the same function.

    Returns:
        Lazy tensors; weights in fp32, by our names.

    Raises:
        InvalidValueError: deepen does not train its model, or its files are damaged or incomplete.
    """
    if isinstance(checkpoint, DeepenCheckpoint):
        state = open_files(checkpoint.folder)
        if not state.layers:
            return state
        untied = GrowthStep(blocks=follow_layout(state.layers, state.depth), moments="copy")
        return replace(grow_by(state, untied, checkpoint.model), layers=())
    return TrainState(weights=_open_weights(checkpoint), depth=checkpoint.model.depth, seed=0)


def load_model(checkpoint: Checkpoint) -> Decoder:
    """The network of a checkpoint on the CPU, in fp32, for evaluation."""
    with torch.device("meta"):
        model = build(checkpoint.model)
    model.load_state_dict(dict(open_state(checkpoint).weights), assign=True)
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


def _open_weights(checkpoint: HuggingFaceCheckpoint) -> LazyTensors:
    """The weights of a folder, by our names."""
    model = checkpoint.model
    lazy = {}
    for name, stored in find_tensors(checkpoint.folder).items():
        shape = torch.empty(stored.shape, device="meta")
        for ours, like in from_hugging_face(model, {name: shape}).items():
            lazy[ours] = _Converted(model, stored.path, name, tuple(like.shape))
    _check_shapes(checkpoint, model, lazy)
    return LazyTensors(lazy)


@dataclass(frozen=True, slots=True)
class _Converted(LazyTensor):
    """A tensor of a folder in Hugging Face's format, in our shape and scale, in fp32."""

    model: ModelConfig
    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def load(self, rows: range | None = None) -> Tensor:
        """Read the tensor and convert it."""
        with safe_open(self.path, framework="pt") as file:
            theirs = file.get_tensor(self.name)
        (ours,) = from_hugging_face(self.model, {self.name: theirs}).values()
        return select_rows(ours.to(torch.float32).contiguous(), rows)


def _check_shapes(
    checkpoint: HuggingFaceCheckpoint, model: ModelConfig, weights: Mapping[str, LazyTensor]
) -> None:
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

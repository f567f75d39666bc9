"""Compare a model before and after growth: the loss on a text, and the logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from deepen.data.tokenizers import load_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.network import load_network
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.train.limits import own_memory_bytes, usable_memory_bytes

MAX_TOKENS = 512
"""Tokens of the text that are read: logits of so many are kept in memory."""
MAX_VOCAB = 1 << 20
"""The vocabulary that is assumed where no config states it."""
_TOLERANCE = 1e-4
"""The largest difference of a logit, relative to the largest logit, that rounding explains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A model before and after growth, on the same text.

    Attributes:
        tokens: tokens of the text.
        loss_before, loss_after: mean loss, in nats per token.
        max_difference: the largest absolute difference of a logit.
        max_logit: the largest absolute logit before growth.
    """

    tokens: int
    loss_before: float
    loss_after: float
    max_difference: float
    max_logit: float

    @property
    def logits_equal(self) -> bool:
        """Whether the logits are equal up to rounding."""
        return self.max_difference <= _TOLERANCE * self.max_logit


@dataclass(frozen=True, kw_only=True, slots=True)
class TextLogits:
    """A text's tokens, (1, tokens), and a model's logits for them, (1, tokens, vocabulary)."""

    ids: Tensor
    logits: Tensor


def read_text(path: Path) -> str:
    """A text to compare on.

    Raises:
        InvalidValueError: the file cannot be read or has no text.
    """
    try:
        with path.open("rb") as file:
            text = file.read(64 * MAX_TOKENS).decode("utf-8", errors="replace")
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise InvalidValueError(problem, field="text", value=str(path)) from None
    if len(text.split()) < 2:
        raise InvalidValueError(f"{path} has no text", field="text", value=str(path), remedy="name another file")
    return text


def encode_text(tokenizer: Path | None, text: str, *, vocab: int, context: int) -> Tensor:
    """The tokens of a text, (1, tokens).

    Args:
        tokenizer: the folder with the tokenizer; None if it is not known.
        text: the text.
        vocab: tokens that the model knows.
        context: the longest sequence of the model.

    Raises:
        InvalidValueError: there is no tokenizer, it does not fit the model, or the text is too short.
    """
    if tokenizer is None:
        raise InvalidValueError(
            "cannot be verified: it has no tokenizer", field="checkpoint", remedy="put its tokenizer.json there"
        )
    ids = load_tokenizer(tokenizer).encode(text)[: min(MAX_TOKENS, context)]
    if len(ids) < 2:
        raise InvalidValueError("has fewer than two tokens", field="text", remedy="name another file")
    if max(ids) >= vocab:
        raise InvalidValueError(
            f"cannot be verified: its tokenizer has tokens beyond its vocabulary of {vocab}", field="checkpoint"
        )
    return torch.tensor([ids])


def explain_missing_memory(weight_bytes: int, vocab: int) -> str:
    """Why a model of this size cannot be compared on this machine; empty if it can."""
    needed = weight_bytes + 3 * 4 * MAX_TOKENS * vocab
    usable = usable_memory_bytes()
    left = max(0, usable - own_memory_bytes())
    if not usable or needed < left:
        return ""
    return f"it takes about {needed / 1e9:,.1f} GB of memory, and {left / 1e9:,.1f} GB can be used"


def compute_logits(model: ModelConfig, weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """The logits of a model of ours, (1, tokens, vocabulary) in fp32."""
    with torch.device("meta"):
        network = build(model)
    network.load_state_dict(dict(weights), assign=True)
    with torch.no_grad():
        logits: Tensor = network(ids)
    return logits.float()


def compute_folder_logits(folder: Path, ids: Tensor) -> Tensor:
    """As `compute_logits`, for a model in a Hugging Face folder; raises as `load_network`."""
    network = load_network(folder, purpose="verifying a Hugging Face checkpoint")
    with torch.no_grad():
        logits: Tensor = network(ids).logits
    return logits.float()


def compare(before: TextLogits, after: Tensor) -> Comparison:
    """Compare logits before and after growth, (1, tokens, vocabulary)."""
    return Comparison(
        tokens=before.ids.shape[1],
        loss_before=_loss(before.logits, before.ids),
        loss_after=_loss(after, before.ids),
        max_difference=float((after - before.logits).abs().max()),
        max_logit=float(before.logits.abs().max()),
    )


def _loss(logits: Tensor, ids: Tensor) -> float:
    return float(functional.cross_entropy(logits[0, :-1], ids[0, 1:]))

"""Generate text from a checkpoint, token by token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.interop.checkpoint import Checkpoint, DeepenCheckpoint, is_trained
from deepen.interop.hugging_face.network import load_network
from deepen.interop.load import load_model
from deepen.model.decoder import Decoder


class Predictor(Protocol):
    """Anything that predicts the next token of a text, of which it reads the last `context` tokens."""

    @property
    def context(self) -> int: ...  # noqa: D102
    def logits(self, text: Sequence[int]) -> Tensor:
        """The logits of the next token, (v,)."""
        ...


@dataclass(frozen=True, slots=True)
class DecoderPredictor:
    """A network of deepen's."""

    model: Decoder

    @property
    def context(self) -> int:
        """The network's longest sequence."""
        return self.model.config.context

    def logits(self, text: Sequence[int]) -> Tensor:
        """The logits of the next token, (v,)."""
        x_btd = self.model.hidden_states(torch.tensor([text]), cut=None)
        return x_btd[0, -1] @ self.model.head_weight.T


@dataclass(frozen=True, slots=True)
class TransformersPredictor:
    """A model of `transformers`."""

    model: Any
    context: int

    def logits(self, text: Sequence[int]) -> Tensor:
        """The logits of the next token, (v,)."""
        logits_v: Tensor = self.model(torch.tensor([text])).logits[0, -1]
        return logits_v


def load_predictor(checkpoint: Checkpoint) -> Predictor:
    """The model of a checkpoint on the CPU, in fp32; of a kind that deepen does not train, by `transformers`.

    Raises:
        InvalidValueError: it cannot be loaded, or `transformers` is needed and not installed.
    """
    if isinstance(checkpoint, DeepenCheckpoint) or is_trained(checkpoint):
        return DecoderPredictor(load_model(checkpoint))
    network = load_network(
        checkpoint.folder, purpose=f"a model of type {checkpoint.model_type}", dtype=torch.float32
    )
    return TransformersPredictor(network, int(getattr(network.config, "max_position_embeddings", 1 << 20)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: divides the logits; 0 takes the most probable token.
        top_k: only so many of the most probable tokens; 0 means all.
        top_p: only the most probable tokens whose probabilities together reach this share.
        seed: seed of the random choices.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


@torch.no_grad()
def generate(
    model: Predictor, prompt: Sequence[int], tokens: int, sampling: Sampling, *, vocab: int, end: int | None
) -> Iterator[int]:
    """Yield up to `tokens` tokens that continue a prompt.

    Args:
        model: predicts them.
        prompt: ids of the text so far, at least one.
        tokens: the largest number of tokens to generate.
        sampling: how the next token is chosen.
        vocab: ids from here on are never chosen; a padded vocabulary has ids that no text has.
        end: the id that ends the text, which is not yielded; None to continue after it.

    Raises:
        InvalidValueError: the prompt is empty.
    """
    if not prompt:
        raise InvalidValueError("is empty", field="prompt", value="", remedy="give at least one token")
    random = torch.Generator().manual_seed(sampling.seed)
    text = list(prompt)
    for _ in range(tokens):
        logits_v = model.logits(text[-model.context :])[:vocab].float()
        token = _choose(logits_v, sampling, random)
        if token == end:
            return
        text.append(token)
        yield token


def _choose(logits_v: Tensor, sampling: Sampling, random: torch.Generator) -> int:
    if sampling.temperature == 0:
        return int(logits_v.argmax())
    ordered, order = (logits_v / sampling.temperature).softmax(-1).sort(descending=True)
    if sampling.top_k:
        ordered = ordered[: sampling.top_k]
    before = ordered.cumsum(-1) - ordered  # of the tokens that are more probable
    ordered = ordered * (before < sampling.top_p)
    return int(order[torch.multinomial(ordered, 1, generator=random)])

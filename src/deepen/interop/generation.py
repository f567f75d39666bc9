"""Generate text from a network, token by token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.model.decoder import Decoder


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
    model: Decoder, prompt: Sequence[int], tokens: int, sampling: Sampling, *, vocab: int, end: int | None
) -> Iterator[int]:
    """Yield up to `tokens` tokens that continue a prompt.

    The network reads at most its context: of a longer text, the latest tokens.

    Args:
        model: the network.
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
        inputs_bt = torch.tensor([text[-model.config.context :]])
        x_btd = model.hidden_states(inputs_bt, cut=None)
        logits_v = (x_btd[0, -1] @ model.head_weight.T)[:vocab].float()
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

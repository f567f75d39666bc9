"""Score completions with a language model: batch rows by length and average the loss of each completion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deepen.evaluate.task import Completion

TASK_BATCH_TOKENS = {"cpu": 8192, "cuda": 65_536}
"""Tokens of a batch per process, by kind of device."""


class LanguageModel(Protocol):
    """Anything that computes token losses: a network, an engine, or an engine that leads other processes."""

    def token_losses(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, without gradients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionScorer:
    """A language model with the interface that tasks use, `task.CompletionModel`.

    Args:
        model: computes the losses.
        context: the longest row in tokens; longer rows are cut at the beginning.
        device: device of the rows.
        batch_tokens: tokens of a batch, padding included.
    """

    model: LanguageModel
    context: int
    device: torch.device
    batch_tokens: int = TASK_BATCH_TOKENS["cpu"]

    @torch.no_grad()
    def completion_losses(self, completions: Sequence[Completion]) -> list[float]:
        """The mean loss per token of each completion given its prompt, in nats."""
        rows = [_make_row(index, completion, self.context) for index, completion in enumerate(completions)]
        rows.sort(key=lambda row: len(row.ids))  # batches of similar length need little padding
        losses = [0.0] * len(rows)
        while rows:
            size = max(1, self.batch_tokens // len(rows[-1].ids))
            batch, rows = rows[-size:], rows[:-size]
            for row, loss in zip(batch, self._mean_losses(batch), strict=True):
                losses[row.index] = loss
        return losses

    def _mean_losses(self, batch: "Sequence[_Row]") -> list[float]:
        longest = max(len(row.ids) for row in batch)
        ids_bt = torch.zeros(len(batch), longest, dtype=torch.int64)
        weights_bt = torch.zeros(len(batch), longest - 1)  # weight of each target in its row's mean
        for index, row in enumerate(batch):
            length = len(row.ids)
            ids_bt[index, :length] = torch.tensor(row.ids)
            weights_bt[index, length - 1 - row.scored : length - 1] = 1 / row.scored
        ids_bt, weights_bt = ids_bt.to(self.device), weights_bt.to(self.device)
        losses_bt = self.model.token_losses(ids_bt[:, :-1], ids_bt[:, 1:])
        means: list[float] = (losses_bt * weights_bt).sum(dim=1).tolist()
        return means


@dataclass(frozen=True, slots=True)
class _Row:
    """A completion as a row of token ids, the last `scored` of which count."""

    index: int
    ids: tuple[int, ...]
    scored: int


def _make_row(index: int, completion: Completion, context: int) -> _Row:
    ids = (*completion.prompt, *completion.tokens)[-(context + 1) :]
    return _Row(index=index, ids=ids, scored=min(len(completion.tokens), len(ids) - 1))

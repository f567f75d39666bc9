"""Score completions with a language model: batch rows by length, and add up the loss of each completion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deepen.evaluate.task import Completion, CompletionScore

TASK_BATCH_TOKENS = {"cpu": 8192, "cuda": 65_536}
"""Tokens of a batch per process, by kind of device."""

NOT_SCORED = -1
"""The target of a position whose next token is not scored."""


class LanguageModel(Protocol):
    """Anything that scores tokens: a network, an engine, or an engine that leads other processes."""

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target in nats, and 1 where it is the likeliest token, else 0: (b, t, 2).

        Targets below 0 are not scored.
        """


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
    def score_completions(self, groups: Sequence[Sequence[Completion]]) -> list[list[CompletionScore]]:
        """The score of each completion given its prompt; see `task.CompletionModel`."""
        completions = [completion for group in groups for completion in group]
        rows = [_make_row(index, completion, self.context) for index, completion in enumerate(completions)]
        rows.sort(key=lambda row: len(row.ids))  # batches of similar length need little padding
        scores = [CompletionScore(0.0, 0, True)] * len(rows)
        while rows:
            size = max(1, self.batch_tokens // len(rows[-1].ids))
            batch, rows = rows[-size:], rows[:-size]
            for row, score in zip(batch, self._scores(batch), strict=True):
                scores[row.index] = score
        flat = iter(scores)
        return [[next(flat) for _ in group] for group in groups]

    def _scores(self, batch: "Sequence[_Row]") -> list[CompletionScore]:
        longest = max(len(row.ids) for row in batch)
        ids_bt = torch.zeros(len(batch), longest, dtype=torch.int64)
        targets_bt = torch.full((len(batch), longest - 1), NOT_SCORED)
        for index, row in enumerate(batch):
            length = len(row.ids)
            ids_bt[index, :length] = torch.tensor(row.ids)
            targets_bt[index, length - 1 - row.scored : length - 1] = torch.tensor(row.ids[length - row.scored :])
        ids_bt, targets_bt = ids_bt.to(self.device), targets_bt.to(self.device)
        scores_bt2 = self.model.token_scores(ids_bt[:, :-1], targets_bt).double()
        losses_and_firsts = scores_bt2.sum(dim=1).tolist()
        return [
            CompletionScore(loss=loss, tokens=row.scored, is_greedy=firsts == row.scored)
            for row, (loss, firsts) in zip(batch, losses_and_firsts, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A completion as a row of token ids, the last `scored` of which count."""

    index: int
    ids: tuple[int, ...]
    scored: int


def _make_row(index: int, completion: Completion, context: int) -> _Row:
    ids = (*completion.prompt, *completion.tokens)[-(context + 1) :]
    return _Row(index=index, ids=ids, scored=min(len(completion.tokens), len(ids) - 1))

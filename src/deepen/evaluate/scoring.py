"""Score completions with a language model: in rows that share beginnings, in batches of similar length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepen.evaluate.packing import NOT_SCORED, PADDING, PackedRow, Part, by_length, make_rows
from deepen.evaluate.task import Completion, CompletionScore

TASK_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Tokens of a batch per process, by kind of device."""


class LanguageModel(Protocol):
    """Anything that scores tokens: a network, an engine, or an engine that leads other processes."""

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        """The loss of every target in nats, and 1 where it is the likeliest token, else 0: (b, t, 2).

        Args:
            tokens_bt: input tokens.
            targets_bt: the next token at each position; those below 0 are not scored.
            branches_bt: the branch of each token (see `deepen.model.branches`); None for plain rows.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionScorer:
    """A language model with the interface that tasks use, `task.CompletionModel`.

    Args:
        model: computes the losses.
        context: the longest text in tokens; longer ones are cut at the beginning.
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
        scores: dict[int, CompletionScore] = {}
        for batch in by_length(make_rows(groups, self.context), self.batch_tokens):
            for row, scores_t2 in zip(batch, self._token_scores(batch), strict=True):
                scores |= {part.index: _add_up(part, scores_t2) for part in row.parts}
        flat = (scores[index] for index in range(len(scores)))
        return [[next(flat) for _ in group] for group in groups]

    def _token_scores(self, batch: Sequence[PackedRow]) -> NDArray[np.float64]:
        """As `LanguageModel.token_scores`."""
        tokens_bt = _pad([row.tokens for row in batch], 0)
        targets_bt = _pad([row.targets for row in batch], NOT_SCORED)
        branches_bt = None
        if any(len(row.parts) > 1 for row in batch):
            branches_bt = _pad([row.branches for row in batch], PADDING).to(self.device)
        scores_bt2 = self.model.token_scores(tokens_bt.to(self.device), targets_bt.to(self.device), branches_bt)
        array: NDArray[np.float64] = scores_bt2.cpu().double().numpy()
        return array


def _pad(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    padded_bt = torch.full((len(rows), max(map(len, rows))), filler)
    for padded_t, row in zip(padded_bt, rows, strict=True):
        padded_t[: len(row)] = torch.tensor(row)
    return padded_bt


def _add_up(part: Part, scores_t2: NDArray[np.float64]) -> CompletionScore:
    loss, firsts = sum(scores_t2[where.start : where.stop].sum(axis=0) for where in (part.shared, part.own))
    return CompletionScore(loss=float(loss), tokens=part.tokens, is_greedy=bool(firsts == part.tokens))

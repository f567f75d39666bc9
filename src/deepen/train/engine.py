"""The engine: the live model of one segment, and the training loop.

Growth, evaluation and checkpoints happen between calls of `run`, never inside it. Whatever a step depends on is in
the state, so a run that is interrupted at any step and continued gives bit-identical results.

Shapes: b sequences, t tokens.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from deepen.compute.memory_settings import micro_batch_tokens
from deepen.data.batches import Batches, Prefetcher, split_rows
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.train.compiling import compile_network, keep_gradients
from deepen.train.device import autocast, gc_paused
from deepen.train.errors import TrainingError
from deepen.train.health.initialization import check_initialization
from deepen.train.health.nonfinite import locate_nonfinite
from deepen.train.health.spikes import SPIKE_SCORE, WINDOW, spike_score
from deepen.train.optim.make import make_optimizer, read_moments, set_rates
from deepen.train.placement import MicroBatch, Placement
from deepen.train.progress import Progress
from deepen.train.read_back import Measured, ReadBack, Step, choose_read_back
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState
from deepen.train.trainable import check_gradients, freeze_rest

Log = Callable[[Progress, Measured], None]
"""Called after every step with the progress and the step's measurements."""

CHECKED_TOKENS, CHECKED_CONTEXT = 4096, 1024
"""Tokens of the first batch that `check_initialization` uses, and the most of a sequence: enough for a mean loss.

In fp32 a GPU stores all context² scores of grouped queries.
"""


class TrainingEngine(Protocol):
    """The interface to training a segment: the engine of one process, or the leader of many."""

    @property
    def progress(self) -> Progress:
        """Tokens, steps, FLOPs and seconds of the run so far."""

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens that a process computes at once."""

    def check_initialization(self) -> None:
        """Raise a TrainingError unless the model behaves like fresh weights on the next batch."""

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """Train up to `until` tokens of the run; before each step, end early if `stop()` is true."""

    def state(self) -> TrainState:
        """A copy of the current state, on the CPU."""

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        """The loss of every target, and whether it is the likeliest token: see `Decoder.token_scores`."""


class Engine:
    """A model and its optimizer, built for one segment from the state.

    Args:
        state: the state that training continues from, after `begin_segment`.
        segment: what to train.
        config: the model at its final depth.
        batches: the training data.
        settings: optimizer, precision and other settings of a step.
        placement: where the model is, and which rows of a batch this process trains on.
        read_back: when a step's numbers are read back; None chooses by the device.
    """

    def __init__(
        self,
        state: TrainState,
        segment: Segment,
        config: ModelConfig,
        batches: Batches,
        settings: TrainSettings,
        placement: Placement,
        read_back: type[ReadBack] | None = None,
    ) -> None:
        with torch.device("meta"):
            model = build(config, segment.depth, segment.trains.layers)
            self.model = model.to(state.dtype)
        self.model.activation_checkpointing = settings.activation_checkpointing
        freeze_rest(self.model, segment.trains)
        self._network = placement.load_and_wrap(self.model, state.weights)
        self.optimizer = make_optimizer(
            self.model,
            settings.optimizer,
            state.moments,
            placement,
            segment.rewarmed_blocks,
            branch_scale=self.model.branch_scale,
        )
        compile_network(self.model, settings.compile, placement.device)
        self.progress, self.recent_losses = state.progress, deque(state.recent_losses, maxlen=WINDOW)
        kept = {
            name: placement.keep(state.moments[name], parameter)
            for name, parameter in self.model.named_parameters()
            if name in state.moments and parameter not in self.optimizer.state
        }
        self._initial, self._segment, self._batches = replace(state, weights={}, moments=kept), segment, batches
        self._settings, self._placement = settings, placement
        self._read_back = read_back or choose_read_back(placement, settings)
        self._gradients_checked, self._recorded_at = False, 0.0

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens that a process computes at once."""
        segment = self._segment
        rows = self._placement.max_rows(segment.batch_tokens // segment.context)
        return self._micro_batch_rows(rows) * segment.context

    def check_initialization(self) -> None:
        """Raise a TrainingError unless the model behaves like fresh weights on the next batch."""
        context = min(self._segment.context, CHECKED_CONTEXT)
        rows_bt = self._next_rows()[: max(1, CHECKED_TOKENS // context), : context + 1]
        with self._autocast():
            check_initialization(self.model, *split_rows(rows_bt.to(self._placement.device)), self._placement)

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """Train up to `until` tokens of the run; before each step, end early if `stop()` is true.

        Raises:
            TrainingError: a loss or gradient is not finite, or `on_spike` is "stop" and the loss is a spike. The
                state is the one before that step.
        """
        segment, position = self._segment, self.progress.tokens
        read_back = self._read_back(self._update, self._check_step, partial(self._record, log))
        with gc_paused(), self._prefetch() as batches:
            self._recorded_at = time.perf_counter()
            while position < until and not stop():
                loss = self._forward_backward(batches.at(position))
                grad_norm = clip_gradients(self.model, self._settings.max_grad_norm, self._placement)
                numbers = torch.stack((loss, grad_norm.to(loss.dtype)))
                lr, rewarm_share = segment.rates_at(position)
                read_back.take(Step(lr=lr, rewarm_share=rewarm_share, numbers=numbers))
                self.optimizer.zero_grad(set_to_none=True)
                position += segment.batch_tokens
            read_back.finish()

    def state(self) -> TrainState:
        """A copy of the current state, on the CPU; if the model is sharded, of this process's share."""
        initial, placement = self._initial, self._placement
        return replace(
            initial,
            weights=placement.copy(self.model.state_dict()),
            moments=read_moments(self.model, self.optimizer, initial.moments, placement),
            progress=self.progress,
            recent_losses=tuple(self.recent_losses),
        )

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        """As `Decoder.token_scores`, in the precision of training."""
        with self._autocast():
            return self._placement.token_scores(self.model, tokens_bt, targets_bt, branches_bt)

    def _forward_backward(self, rows_bt: Tensor) -> Tensor:
        """Compute the gradients of the batch's mean loss by micro-batches; returns the loss in nats per token."""
        rows = len(rows_bt)
        size = self._micro_batch_rows(self._placement.max_rows(rows))
        losses: list[Tensor] = []
        for part in self._placement.micro_batches(rows, size):
            losses.append(self._backward(rows_bt, part))
            if len(losses) == 1 and not part.is_last:
                keep_gradients(self.model)
        if not self._gradients_checked:
            check_gradients(self.model, self._segment.label)
            self._gradients_checked = True
        return self._placement.total(torch.stack(losses).sum())

    def _backward(self, rows_bt: Tensor, part: MicroBatch) -> Tensor:
        """Add the gradients of a micro-batch; returns its share of the batch's loss."""
        scale, cut = self._placement.gradient_scale, self._segment.trains.cut
        inputs_bt, targets_bt = split_rows(rows_bt[part.rows].to(self._placement.device, non_blocking=True))
        with self._placement.sync_gradients(self._network, now=part.is_last):
            with self._autocast():
                loss: Tensor = self._network(inputs_bt, targets_bt, cut=cut) * (part.share * scale)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach() / scale

    def _update(self, step: Step, found_inf: Tensor | None = None) -> None:
        """Take an optimizer step, which changes nothing if the flag `found_inf` is 1 on the device."""
        if found_inf is not None:
            self.optimizer.found_inf = found_inf  # type: ignore[attr-defined]
        set_rates(self.optimizer, step.lr, step.rewarm_share)
        self.optimizer.step()

    def _check_step(self, step: Step) -> Measured:
        """Read a step's numbers back; raises a TrainingError if the step must not be taken."""
        loss, grad_norm = step.numbers.tolist()
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            what = f"loss {loss}, gradient norm {grad_norm}"
            raise self._abandon_step(what, self._locate_nonfinite(), remedy="use a lower `lr`")
        measured = {"loss": loss, "lr": step.lr, "grad_norm": grad_norm}
        if step.rewarm_share != 1:
            measured["lr_new_blocks"] = step.lr * step.rewarm_share
        score = spike_score(self.recent_losses, loss)
        if score > SPIKE_SCORE:
            if self._settings.on_spike == "stop":
                what = f"loss {loss:.4f} is a spike"
                why = f"it is {score:.1f} deviations above the median of the losses before it"
                raise self._abandon_step(what, why, remedy="use `on_spike` warn to continue anyway")
            measured["spike"] = score
            if self._settings.on_spike == "skip":
                measured["skipped"] = True
        return measured

    def _record(self, log: Log, measured: Measured) -> None:
        """Count and log a step; its seconds are the time since the previous step was recorded."""
        now = time.perf_counter()
        tokens = self._segment.batch_tokens
        self.progress = self.progress.advance(
            tokens=tokens, flops=self._segment.flops_per_step, seconds=now - self._recorded_at
        )
        self._recorded_at = now
        self.recent_losses.append(measured["loss"])
        log(self.progress, measured)

    def _abandon_step(self, what: str, why: str, remedy: str) -> TrainingError:
        """Drop the gradients of a step that must not be taken; returns the error to raise."""
        self.optimizer.zero_grad(set_to_none=True)
        at = f"step {self.progress.step + 1} ({self.progress.tokens:,} tokens, {self._segment.label})"
        return TrainingError(f"{what} at {at}; nothing was updated; {why}", remedy=remedy)

    def _locate_nonfinite(self) -> str:
        """Describe what in the next batch is not finite."""
        rows_bt, context = self._next_rows(), self._segment.context
        rows = len(rows_bt)

        def backward(part: slice) -> float:
            self.optimizer.zero_grad(set_to_none=True)
            share = (part.stop - part.start) / rows
            return self._backward(rows_bt, MicroBatch(part, share)).item()

        starts = [self._batches.start(self.progress.tokens + row * context) for row in range(rows)]
        return locate_nonfinite(self.model, starts, self._micro_batch_rows(rows), backward, self._placement)

    def _next_rows(self) -> Tensor:
        return self._batches.rows_at(self.progress.tokens, self._segment.batch_tokens, self._segment.context)

    def _prefetch(self) -> Prefetcher:
        segment, ahead = self._segment, self._placement.device.type == "cuda"
        return Prefetcher(self._batches, segment.batch_tokens, segment.context, ahead=ahead)

    def _autocast(self) -> torch.autocast:
        placement = self._placement
        return autocast(placement.device, self._settings.precision, keep_copies=placement.keeps_casts)

    def _micro_batch_rows(self, rows: int) -> int:
        """Rows of a micro-batch, for a batch of `rows` rows."""
        context, vocab = self._segment.context, self.model.config.vocab
        return micro_batch_tokens(self._settings.micro_batch_tokens, rows * context, context, vocab) // context


def clip_gradients(model: Decoder, max_norm: float | None, placement: Placement) -> Tensor:
    """Scale all gradients so that their norm is at most `max_norm`, unless that is None; returns the norm before.

    Nothing is read back from the device.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if max_norm is None else max_norm)
    return placement.full(norm)

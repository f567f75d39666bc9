"""The engine: one segment's live model, and the loop.

Growth, evaluation and checkpoints happen between calls of `run`, never inside it. Cutting a run in two at
any step does not change a bit: all that a step reads is in the state.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepen.compute.memory import micro_batch_tokens
from deepen.data.batches import Batches, Prefetcher
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.train.compiling import compile_blocks
from deepen.train.device import autocast, gc_paused
from deepen.train.distributed.placement import (
    exchange,
    gathered,
    micro_batches,
    most_rows,
    place,
    summed,
    token_losses,
    whole,
)
from deepen.train.distributed.processes import ALONE, World
from deepen.train.health import SPIKE, WINDOW, TrainingError, check_initialization, spike_score, where_not_finite
from deepen.train.optim.make import make_optimizer, read_moments
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import Progress, TrainState
from deepen.train.trainable import apply_scope

Log = Callable[[Progress, dict[str, float]], None]
"""Called after every step with the progress and `loss`, `lr`, `grad_norm`; where the loss is a spike also with
`spike`, its score, and where the update was left out `skipped`."""

CHECKED_TOKENS = 4096
"""Of the first batch, for `check_initialization`: enough for a mean loss, and next to nothing to compute."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A step: progress before and after it, its rate, and loss and gradient norm, (2,), on the device."""

    before: Progress
    after: Progress
    lr: float
    numbers: Tensor


class Engine:
    """A model and its optimizer, rebuilt for each segment from the state.

    Args:
        state: as the segment's next step finds it.
        segment: what to train.
        config: the model at its final depth.
        batches: the data.
        settings: how a step is taken.
        device: where.
        world: the processes that do it together, each with an engine of its own.
    """

    def __init__(
        self,
        state: TrainState,
        segment: Segment,
        config: ModelConfig,
        batches: Batches,
        settings: TrainSettings,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        with torch.device("meta"):
            self.model = build(config, segment.depth).to(state.weights["token_embedding.weight"].dtype)
        self.model.activation_checkpointing = settings.activation_checkpointing
        self.cut = apply_scope(self.model, segment.train, segment.new_blocks)
        self._network = place(self.model, state.weights, device, world)
        self.optimizer = make_optimizer(self.model, settings.optimizer, state.moments, world)
        compile_blocks(self.model, settings.compile, device)
        self.progress, self.recent_losses = state.progress, deque(state.recent_losses, maxlen=WINDOW)
        self._before, self._segment, self._config, self._batches = state, segment, config, batches
        self._world, self._settings, self._device = world, settings, device
        self._checked, self._logged_at = False, 0.0
        # Reading a number back waits for the device; one step late it never does. Where a spike decides about an
        # update, its loss has to be known before; and a divided optimizer has no device flag that holds it back.
        self._reads_late = device.type == "cuda" and settings.on_spike == "warn" and not world.shard
        self._frozen = torch.zeros((), device=device)

    def check_initialization(self) -> None:
        """Raise a TrainingError unless the model is, on the next batch, as fresh weights should be."""
        segment = self._segment
        batch = self._batches.at(self.progress.tokens, segment.batch_tokens, segment.context)
        rows = max(1, CHECKED_TOKENS // segment.context)
        inputs_bt, targets_bt = (part[:rows].to(self._device) for part in batch)
        check_initialization(self.model, inputs_bt, targets_bt)

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until `until` tokens of the run, or until `stop()` says so between two steps.

        Raises:
            TrainingError: a loss or gradient is not finite, or a spike is to stop the run. The step was not
                taken: the state is that before it.
        """
        segment, steps = self._segment, deque[_Step]()
        ahead = self._device.type == "cuda"
        prefetcher = Prefetcher(self._batches, segment.batch_tokens, segment.context, ahead=ahead)
        with gc_paused(), prefetcher as prefetched:
            self._logged_at = time.perf_counter()
            while self.progress.tokens < until and not stop():
                step = self._gradients(*prefetched.at(self.progress.tokens))
                if self._reads_late:
                    self._update(step)
                    steps.append(step)
                else:
                    measured = self._check_step(step)
                    if "skipped" not in measured:
                        self._update(step)
                    self._log(step, measured, log)
                self.optimizer.zero_grad(set_to_none=True)
                if len(steps) > 1:
                    self._log(steps[0], self._check_step(steps[0]), log)
                    steps.popleft()
            for step in steps:
                self._log(step, self._check_step(step), log)

    def _gradients(self, inputs_bt: Tensor, targets_bt: Tensor) -> "_Step":
        """Gradients of the next batch, clipped. Nothing is read back: a GPU works on while this returns."""
        loss = self._forward_backward(inputs_bt, targets_bt)
        if not self._checked:
            self._check_trainable_set()
            self._checked = True
        limit = self._settings.max_grad_norm
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = whole(torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit))
        before, segment = self.progress, self._segment
        self.progress = before.advanced(
            tokens=segment.batch_tokens, flops=segment.batch_tokens * segment.flops_per_token, seconds=0.0
        )
        return _Step(
            before=before,
            after=self.progress,
            lr=segment.rate.at(before.tokens),
            numbers=torch.stack((loss, norm.to(loss.dtype))),
        )

    def _update(self, step: "_Step") -> None:
        """Move the weights; on the device nothing moves any more once a loss or gradient was not finite."""
        if self._reads_late:
            self._frozen = torch.maximum(self._frozen, 1.0 - step.numbers.isfinite().all().float())
            self.optimizer.found_inf = self._frozen  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr
        self.optimizer.step()

    def _check_step(self, step: "_Step") -> dict[str, float]:
        """What is logged of a step; raises where it must not be taken, and the state is that before it."""
        loss, grad_norm = step.numbers.tolist()
        measured = {"loss": loss, "lr": step.lr, "grad_norm": grad_norm}
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self.progress = replace(step.before, seconds=self.progress.seconds)
            what = f"loss {loss}, gradient norm {grad_norm}"
            raise self._stopped(what, f"{self._locate_nonfinite()}; use a lower --lr")
        if (score := spike_score(self.recent_losses, loss)) > SPIKE:
            if self._settings.on_spike == "stop":
                self.progress = replace(step.before, seconds=self.progress.seconds)
                what = f"loss {loss:.4f} is a spike, {score:.1f} deviations above the median of those before it,"
                raise self._stopped(what, "--on-spike warn goes on all the same")
            measured["spike"] = score
            if self._settings.on_spike == "skip":
                measured["skipped"] = True
        self.recent_losses.append(loss)
        return measured

    def _log(self, step: "_Step", measured: dict[str, float], log: Log) -> None:
        """Tell of a step that is over; its seconds are those since the one before it was."""
        now = time.perf_counter()
        seconds = self.progress.seconds + now - self._logged_at
        self._logged_at = now
        self.progress = replace(self.progress, seconds=seconds)
        log(replace(step.after, seconds=seconds), measured)

    def state(self) -> TrainState:
        """The state now, in memory of its own."""
        weights = {name: gathered(weight) for name, weight in self.model.state_dict().items()}
        moments = read_moments(self.model, self.optimizer, self._settings.optimizer, self._before.moments)
        recent = tuple(self.recent_losses)
        return replace(
            self._before, weights=weights, moments=moments, progress=self.progress, recent_losses=recent
        )

    def token_losses(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, without gradients; matrix products are training's."""
        with autocast(self._device, self._settings.precision, keep_copies=not self._world.shard):
            return token_losses(self.model, tokens_bt, targets_bt, self._world)

    def _forward_backward(self, inputs_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """Gradients of the mean loss over the batch, in micro-batches; returns the loss in nats per token."""
        rows = len(inputs_bt)
        size = self._micro_batch_rows(most_rows(rows, self._world))
        losses = [
            self._backward(inputs_bt[part], targets_bt[part], share, is_last=is_last)
            for part, share, is_last in micro_batches(rows, size, self._world)
        ]
        return summed(torch.stack(losses).sum(), self._world)

    def _micro_batch_rows(self, rows: int) -> int:
        context, vocab = self._segment.context, self.model.config.vocab
        return micro_batch_tokens(self._settings.micro_batch_tokens, rows * context, context, vocab) // context

    def _backward(self, inputs_bt: Tensor, targets_bt: Tensor, share: float, *, is_last: bool = True) -> Tensor:
        """Add the gradients of a micro-batch that is so large a share of its batch; returns its share of the loss.

        Gradients of all processes are averaged, so each is made as many times larger as there are processes.
        """
        inputs = inputs_bt.to(self._device, non_blocking=True)
        targets = targets_bt.to(self._device, non_blocking=True)
        size = self._world.size
        with exchange(self._network, at_once=is_last):
            # Copies that stay would add up to the whole model, which no device has room for where it is divided.
            with autocast(self._device, self._settings.precision, keep_copies=not self._world.shard):
                loss: Tensor = self._network(inputs, targets, cut=self.cut) * (share * size)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach() / size

    def _locate_nonfinite(self) -> str:
        """What of the next batch is not finite, in words."""
        tokens, segment = self.progress.tokens, self._segment
        inputs_bt, targets_bt = self._batches.at(tokens, segment.batch_tokens, segment.context)
        rows = len(inputs_bt)

        def backward(begin: int, end: int) -> float:
            self.optimizer.zero_grad(set_to_none=True)
            return self._backward(inputs_bt[begin:end], targets_bt[begin:end], (end - begin) / rows).item()

        positions = range(tokens, tokens + segment.batch_tokens, segment.context)
        starts = [self._batches.start(position) for position in positions]
        return where_not_finite(self.model, starts, self._micro_batch_rows(rows), backward)

    def _stopped(self, what: str, why: str) -> TrainingError:
        """The error of a step that was not taken, with no gradient left behind."""
        self.optimizer.zero_grad(set_to_none=True)
        progress = self.progress
        at = f"step {progress.step + 1} ({progress.tokens:,} tokens, {self._segment.label})"
        return TrainingError(f"{what} at {at}: nothing was updated; {why}")

    def _check_trainable_set(self) -> None:
        """The parameters with a gradient must be exactly the declared ones: torch has lost some in silence."""
        declared = {name for name, p in self.model.named_parameters() if p.requires_grad}
        moved = {name for name, p in self.model.named_parameters() if p.grad is not None}
        if declared != moved:  # raised, not asserted: python -O must not lose it
            raise AssertionError(
                f"trainable set broken in {self._segment.label}: no gradient for {sorted(declared - moved)}, "
                f"one that was not declared for {sorted(moved - declared)}: the network cuts its graph"
            )

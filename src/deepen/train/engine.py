"""The engine: one segment's live model, and the loop.

Growth, evaluation and checkpoints happen between calls of `run`, never inside it. Cutting a run in two at
any step does not change a bit: all that a step reads is in the state.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from deepen.compute.memory import micro_batch_tokens
from deepen.data.batches import Batches
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.train.device import autocast
from deepen.train.optim import make_optimizer, read_moments
from deepen.train.scope import apply_scope
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import Progress, TrainState

Log = Callable[[Progress, dict[str, float]], None]
"""Called after every step with the progress and `loss`, `lr`, `grad_norm`."""


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped and what was kept."""


class Engine:
    """A model and its optimizer, rebuilt for each segment from the state.

    Args:
        state: as the segment's next step finds it.
        segment: what to train.
        config: the model at its final depth.
        batches: the data.
        settings: how a step is taken.
        device: where.
    """

    def __init__(
        self,
        state: TrainState,
        segment: Segment,
        config: ModelConfig,
        batches: Batches,
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        compiled = settings.compile and device.type == "cuda"
        if compiled:
            torch._dynamo.reset()  # torch < 2.12 silently does not train blocks that were frozen before
        with torch.device("meta"):
            self.model = build(config, segment.depth)
        self.model.to_empty(device=device)
        self.model.load_state_dict(dict(state.weights))
        self.model.activation_checkpointing = settings.activation_checkpointing
        self.cut = apply_scope(self.model, segment.train, segment.new_blocks)
        self.optimizer = make_optimizer(self.model, settings, state.moments)
        if compiled:
            for block in self.model.blocks:
                block.compile()
        self.progress = state.progress
        self._before, self._segment, self._batches = state, segment, batches
        self._settings, self._device = settings, device

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until `until` tokens of the run, or until `stop()` says so between two steps."""
        segment, first = self._segment, True
        while self.progress.tokens < until and not stop():
            began = time.perf_counter()
            lr = segment.rate.at(self.progress.tokens)
            inputs_bt, targets_bt = self._batches.at(self.progress.tokens, segment.batch_tokens, segment.context)
            loss = self._forward_backward(inputs_bt, targets_bt)
            if first:
                self._check_trainable_set()
                first = False
            grad_norm = self._clip()
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise TrainingError(
                    f"loss {loss}, gradient norm {grad_norm} at step {self.progress.step + 1} "
                    f"({self.progress.tokens:,} tokens, {segment.label}): nothing was updated; use a lower --lr"
                )
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.progress = self.progress.advanced(
                tokens=segment.batch_tokens,
                flops=segment.batch_tokens * segment.flops_per_token,
                seconds=time.perf_counter() - began,
            )
            log(self.progress, {"loss": loss, "lr": lr, "grad_norm": grad_norm})

    def state(self) -> TrainState:
        """The state now, in memory of its own."""
        weights = {name: w.detach().cpu().clone() for name, w in self.model.state_dict().items()}
        moments = read_moments(self.model, self.optimizer, self._before.moments)
        return replace(self._before, weights=weights, moments=moments, progress=self.progress)

    def _forward_backward(self, inputs_bt: Tensor, targets_bt: Tensor) -> float:
        """Gradients of the mean loss over the batch, in micro-batches; returns the loss in nats per token."""
        rows = len(inputs_bt)
        context, vocab = self._segment.context, self.model.config.vocab
        size = micro_batch_tokens(self._settings.micro_batch_tokens, rows * context, context, vocab) // context
        total = 0.0
        for begin in range(0, rows, size):
            inputs = inputs_bt[begin : begin + size].to(self._device, non_blocking=True)
            targets = targets_bt[begin : begin + size].to(self._device, non_blocking=True)
            with autocast(self._device, self._settings.precision):
                logits_btv = self.model(inputs, cut=self.cut)
            loss = F.cross_entropy(logits_btv.float().flatten(0, 1), targets.flatten())
            loss = loss * (len(inputs) / rows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def _clip(self) -> float:
        """Clip the gradient to the allowed norm; returns the norm before."""
        limit = self._settings.max_grad_norm
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit).item()

    def _check_trainable_set(self) -> None:
        """The parameters with a gradient must be exactly the declared ones: torch has lost some in silence."""
        declared = {name for name, p in self.model.named_parameters() if p.requires_grad}
        moved = {name for name, p in self.model.named_parameters() if p.grad is not None}
        assert declared == moved, f"trainable set broken: {sorted(declared ^ moved)}"

"""The workload of a bench: kinds of phases, and engines that take steps of them on random tokens."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepen.bench.stopwatch import Stopwatch
from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import micro_batch_tokens
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.growth.spec import Growth
from deepen.model.build import build
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.train.engine import Engine
from deepen.train.fit import fit_settings
from deepen.train.gpu_memory import own_free_bytes
from deepen.train.placement import SingleProcess
from deepen.train.segment import Segment
from deepen.train.settings import CUDA_GRAPHS, TrainSettings
from deepen.train.state import TrainState, initial_state

_ENDLESS = 1 << 40
"""Steps of a segment that never ends in practice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseKind:
    """A kind of phase: a phase of one step, and the parts of the model that it trains."""

    phase: Phase
    trained: TrainedParts


def phase_kinds(model: ModelConfig, batch_tokens: int, context: int) -> list[PhaseKind]:
    """The kinds that are measured; the first trains everything at full depth.

    They let a fit separate the ingredients of a step (`compute.timing.fit_timing`):

        everything trained, at three depths          a trained block, and everything around the blocks
        a quarter of the blocks new, at the top      a block that only runs forward
        a quarter of the blocks new, at the bottom   a block that gradients pass through

    If the embeddings are trained, gradients pass through all blocks wherever the new ones are: top is enough.
    """

    def phase(depth: int, train: Trainable, where: str = "") -> Phase:
        label = f"depth {depth} · {train}{where}"
        return Phase(
            depth=depth, tokens=batch_tokens, label=label, train=train, batch_tokens=batch_tokens, context=context
        )

    depths = sorted({model.depth, (model.depth + 1) // 2, 1}, reverse=True)
    kinds = [PhaseKind(phase=phase(depth, Trainable.ALL), trained=TrainedParts.all(depth)) for depth in depths]
    for depth in depths[:2]:
        new = max(1, depth // 4)
        if new == depth:
            continue
        for train in TRAINABLE_SETS.values():
            if train is Trainable.ALL:
                continue
            for placement in ("top",) if train.embeddings else ("top", "bottom"):
                new_blocks = Growth(placement=placement).resolve(depth - new, depth).new_blocks
                where = f" · {new} new, {placement}"
                kinds.append(PhaseKind(phase=phase(depth, train, where), trained=train.resolve(depth, new_blocks)))
    return kinds


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The training steps that are measured.

    Args:
        model: the model at its final depth.
        context, batch_tokens: tokens of a sequence and of a step.
        settings: optimizer, precision and other settings of a step.
        device: the device that is measured.
    """

    model: ModelConfig
    context: int
    batch_tokens: int
    settings: TrainSettings
    device: torch.device

    @property
    def warm_up_steps(self) -> int:
        """Steps at the beginning of each turn that are not measured.

        The first step creates the optimizer's moments. CUDA graphs need three: warm-up, recording, first replay.
        """
        return 3 if self.settings.compile == CUDA_GRAPHS else 1

    @property
    def stopwatch(self) -> Stopwatch:
        """A clock for work on the device."""
        return Stopwatch.for_device(self.device)

    def with_micro_batch(self) -> "Workload":
        """The same, with the micro-batch of full training decided by the memory that is free now."""
        settings = fit_settings(self.settings, self._full_segment, self.model, own_free_bytes(self.device))
        return replace(self, settings=settings)

    @property
    def micro_batch_rows(self) -> int:
        """Sequences of a micro-batch of full training, for trainers that need a divisor of the batch."""
        rows, context = self.batch_tokens // self.context, self.context
        settings, vocab = self.settings, self.model.vocab
        ours = micro_batch_tokens(settings.micro_batch_tokens, self.batch_tokens, context, vocab) // context
        return max(size for size in range(1, ours + 1) if rows % size == 0)

    def kinds(self) -> list[PhaseKind]:
        """The kinds of phases that are measured."""
        return phase_kinds(self.model, self.batch_tokens, self.context)

    def flops_per_step(self, kind: PhaseKind) -> int:
        """The ledger's price of a kind."""
        ledger = Ledger(model=self.model, optimizer=self.settings.optimizer.cost)
        return ledger.flops_per_step(kind.trained, kind.phase.batch_tokens, kind.phase.context)

    def computed_flops_per_step(self, kind: PhaseKind) -> int:
        """What this device computes of a kind: on a GPU in bf16 the padding of the head, too."""
        ledger = Ledger(model=self.model, optimizer=self.settings.optimizer.cost)
        if self.device.type == "cuda" and self.settings.uses_bf16:
            ledger = ledger.computed
        return ledger.flops_per_step(kind.trained, kind.phase.batch_tokens, kind.phase.context)

    def segment(self, kind: PhaseKind, steps: int) -> Segment:
        """A segment of `steps` steps of a kind, at a learning rate that is low enough for any model."""
        phase = kind.phase
        return Segment(
            depth=phase.depth,
            trains=kind.trained,
            start=0,
            end=steps * phase.batch_tokens,
            batch_tokens=phase.batch_tokens,
            context=phase.context,
            rate=RatePiece(shape="constant", start=0, end=None, start_lr=1e-5, end_lr=1e-5),
            growth=None,
            reset_moments=False,
            flops_per_step=self.flops_per_step(kind),
            label=phase.label,
        )

    def engine(self, state: TrainState, segment: Segment) -> Engine:
        """An engine for a segment, on random tokens."""
        batches = Batches(Tokens([self.random_tokens()]), self.context, seed=0)
        settings = fit_settings(self.settings, segment, self.model, own_free_bytes(self.device))
        return Engine(state, segment, self.model, batches, settings, SingleProcess(self.device))

    def full_training(self) -> Engine:
        """An engine that trains everything at full depth on random tokens, in a segment without end."""
        return self.engine(initial_state(self.model, self.model.depth, seed=0), self._full_segment)

    @property
    def _full_segment(self) -> Segment:
        return self.segment(self.kinds()[0], _ENDLESS)

    def random_tokens(self) -> NDArray[np.uint16]:
        """Random tokens of 16 bits, as in shards; of a larger vocabulary only the first 65,536 are drawn.

        Which rows of the embedding are read does not change the time.
        """
        vocab, count = min(self.model.vocab, 1 << 16), 8 * self.context + (1 << 20)
        return np.random.RandomState(0).randint(0, vocab, count).astype(np.uint16)

    def rows(self) -> Tensor:
        """The same tokens as at most 4096 rows, (rows, context + 1) int64, for trainers that take rows."""
        tokens, length = self.random_tokens(), self.context + 1
        rows = torch.from_numpy(tokens[: len(tokens) // length * length].astype(np.int64)).view(-1, length)
        return rows[:4096]


def lowest_blocks(state: TrainState, config: ModelConfig, depth: int) -> TrainState:
    """The state of a model of only the lowest `depth` blocks; shares the weights."""
    with torch.device("meta"):
        names = build(config, depth).state_dict()
    return TrainState(weights={name: state.weights[name] for name in names}, depth=depth, seed=state.seed)

"""Batches that depend only on the data, the seed and the position in tokens.

The data is divided into windows of the largest context. Each epoch visits every window once, in an order that is
computed from the seed and the epoch (see `permutation`), so memory does not grow with the data. The batch at a
position holds the next windows in that order:

    7 windows of 16 tokens, epoch 0 in the order  4 0 6 2 1 5 3
    at(position=32, batch_tokens=32, context=16) → windows 6 and 2
    at(position=32, batch_tokens=32, context=8)  → the same tokens, as four sequences

Micro-batches, devices, depth and interruptions therefore do not change what is trained on. A smaller context
subdivides the windows, so a context ramp keeps their order.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepen.data.permutation import permute
from deepen.data.shards import Tokens

_BLOCK = 4096
"""Windows whose order is computed at once."""


class Batches:
    """Training batches by position in tokens.

    Args:
        tokens: the training split, at least one window long (see `Dataset.check_context`).
        context: the largest context, which is the size of a window in tokens.
        seed: seed of the order of windows.
        first: where in that order the run begins, in tokens, because an earlier run has read what is before; a
            multiple of `context`.
    """

    def __init__(self, tokens: Tokens, context: int, seed: int, first: int = 0) -> None:
        assert first % context == 0
        self.tokens, self.window, self.seed, self.first = tokens, context, seed, first
        self.windows = (len(tokens) - 1) // context
        assert self.windows >= 1

    def at(self, position: int, batch_tokens: int, context: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (batch_tokens / context, context) int64: `split_rows` of `rows_at`."""
        return split_rows(self.rows_at(position, batch_tokens, context))

    def rows_at(self, position: int, batch_tokens: int, context: int) -> Tensor:
        """The rows of the step that begins at `position`, (batch_tokens / context, context + 1) int64, contiguous.

        Args:
            position, batch_tokens: in tokens, multiples of `context`.
            context: tokens per sequence; divides the largest context.
        """
        assert self.window % context == 0 and position % context == 0 and batch_tokens % context == 0
        starts = [self.start(position + offset) for offset in range(0, batch_tokens, context)]
        rows = np.stack([self.tokens.window(start, context + 1) for start in starts]).astype(np.int64)
        return torch.from_numpy(rows)

    def start(self, position: int) -> int:
        """The index in the data of the first token of the sequence at a position of the run."""
        turn, offset = divmod(self.first + position, self.window)
        epoch, turn_in_epoch = divmod(turn, self.windows)
        block, turn_in_block = divmod(turn_in_epoch, _BLOCK)
        return int(_order(self.windows, self.seed, epoch, block)[turn_in_block]) * self.window + offset


def split_rows(rows_bt: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs and the targets of rows, each one token shorter than a row; both are views.

    A GPU gets whole rows, in one copy, and splits them there. A view is not contiguous, and CUDA copies such a
    tensor through memory that is not pinned, for which it waits until the device has finished its queued work.
    """
    return rows_bt[:, :-1], rows_bt[:, 1:]


class Prefetcher:
    """The rows of batches of one size. With `ahead`, the next are read and pinned for a GPU during a step.

    Without `ahead`, each is read when it is requested: reading ahead gains nothing on a CPU.
    """

    def __init__(self, batches: Batches, batch_tokens: int, context: int, *, ahead: bool) -> None:
        self._batches, self._batch_tokens, self._context = batches, batch_tokens, context
        self._ahead = ahead
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._next_position: int | None = None
        self._next: Future[Tensor] | None = None

    def at(self, position: int) -> Tensor:
        """The rows at a position, as `Batches.rows_at`; with `ahead`, starts to read the next ones."""
        if not self._ahead:
            return self._batches.rows_at(position, self._batch_tokens, self._context)
        if self._next is None or self._next_position != position:
            self._begin(position)
        assert self._next is not None
        rows_bt = self._next.result()
        self._begin(position + self._batch_tokens)
        return rows_bt

    def _begin(self, position: int) -> None:
        self._next_position, self._next = position, self._reader.submit(self._read, position)

    def _read(self, position: int) -> Tensor:
        rows_bt = self._batches.rows_at(position, self._batch_tokens, self._context)
        return rows_bt.pin_memory() if torch.cuda.is_available() else rows_bt

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)


@lru_cache(maxsize=4)
def _order(windows: int, seed: int, epoch: int, block: int) -> NDArray[np.int64]:
    """A block of the order of windows in an epoch: one call for many windows costs little more than for one."""
    order = permute(np.arange(block * _BLOCK, min((block + 1) * _BLOCK, windows)), windows, seed, epoch)
    order.flags.writeable = False  # cached values must not change
    return order

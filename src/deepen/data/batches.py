"""Batches that depend only on the data, the seed and the position in tokens."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepen.data.shards import Tokens


class Batches:
    """Training batches by token position.

    The data is cut into windows of the largest context, permuted anew by seed and epoch; a smaller context
    subdivides them, so that a ramp keeps the order. Neither micro-batches, devices, depth nor the place
    where a run was interrupted have any say.

    Args:
        tokens: the training split.
        context: the largest context, tokens per window.
        seed: of the order.
    """

    def __init__(self, tokens: Tokens, context: int, seed: int) -> None:
        self.tokens, self.window, self.seed = tokens, context, seed
        self.windows = (len(tokens) - 1) // context
        assert self.windows >= 1, "Dataset.check_context comes first"

    def at(self, position: int, batch_tokens: int, context: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each (batch_tokens / context, context) int64, of the step that begins at `position`.

        Args:
            position, batch_tokens: in tokens, multiples of `context`.
            context: tokens per sequence; divides the largest context.
        """
        assert self.window % context == 0 and position % context == 0 and batch_tokens % context == 0
        starts = [self.start(position + offset) for offset in range(0, batch_tokens, context)]
        rows = np.stack([self.tokens.window(start, context + 1) for start in starts]).astype(np.int64)
        rows_bt = torch.from_numpy(rows)
        return rows_bt[:, :-1], rows_bt[:, 1:]

    def start(self, position: int) -> int:
        """Where in the data the sequence at a position of the run begins."""
        window, inside = divmod(position, self.window)
        epoch, nth = divmod(window, self.windows)
        return int(_order(self.windows, self.seed, epoch)[nth]) * self.window + inside


class Prefetcher:
    """Batches of one size, the next read in the background while one is trained on; pinned for a GPU.

    With `ahead` False each is read when it is asked for: on a CPU there is nothing to gain.
    """

    def __init__(self, batches: Batches, batch_tokens: int, context: int, *, ahead: bool) -> None:
        self._ahead = ahead
        self._batches, self._batch_tokens, self._context = batches, batch_tokens, context
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._next: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None

    def at(self, position: int) -> tuple[Tensor, Tensor]:
        """As `Batches.at`; the batch that follows is begun."""
        if not self._ahead:
            return self._batches.at(position, self._batch_tokens, self._context)
        expected, batch = self._next or self._begin(position)
        if expected != position:
            _, batch = self._begin(position)
        found = batch.result()
        self._next = self._begin(position + self._batch_tokens)
        return found

    def _begin(self, position: int) -> tuple[int, Future[tuple[Tensor, Tensor]]]:
        return position, self._reader.submit(self._read, position)

    def _read(self, position: int) -> tuple[Tensor, Tensor]:
        inputs_bt, targets_bt = self._batches.at(position, self._batch_tokens, self._context)
        if torch.cuda.is_available():
            return inputs_bt.pin_memory(), targets_bt.pin_memory()
        return inputs_bt, targets_bt

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown(cancel_futures=True)


@lru_cache(maxsize=4)
def _order(windows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of an epoch. NumPy promises this generator's stream for all time (NEP 19)."""
    return np.random.RandomState([seed, epoch]).permutation(windows)

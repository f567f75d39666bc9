"""Limits on lost workers and on segments that the executor refuses."""

import logging
import time
from collections import Counter

from deepen.study.compile.tree import Node
from deepen.study.run.errors import WorkersLostError
from deepen.study.store.study_folder import Store

_log = logging.getLogger(__name__)

MAX_WORKER_FAILURES = 3
"""The run ends when a segment loses this many workers in a row without any progress."""

MAX_REFUSALS = 10
"""The run ends when the executor refuses this many submissions in a row."""

REFUSED_SECONDS = 30.0
"""Time until the next submission after a refusal: the executor may be busy, or its queue full."""


class Attempts:
    """Counts the attempts at each segment, and the workers that it loses in a row without progress."""

    def __init__(self, store: Store) -> None:
        self._store, self._attempts = store, Counter[str]()
        self._lost: dict[str, tuple[int, int]] = {}  # by key: workers lost in a row, tokens saved at the last loss

    def begin(self, node: Node) -> int:
        """Begin an attempt at a segment and return its number, from 1."""
        self._attempts[node.key] += 1
        return self._attempts[node.key]

    def lose_worker(self, node: Node, reason: str) -> None:
        """Count and log that a segment lost its worker.

        Raises:
            WorkersLostError: too many were lost in a row.
        """
        folder = self._store.segment(node.key)
        saved, (count, saved_before) = folder.tokens_saved, self._lost.get(node.key, (0, 0))
        count = 1 if saved > saved_before else count + 1
        self._lost[node.key] = (count, saved)
        segment = f"segment {folder.folder} ({node.segment.label}, seed {node.seed})"
        if count == MAX_WORKER_FAILURES:
            raise WorkersLostError(f"{count} workers in a row were lost on {segment}: {reason}")
        _log.warning(
            "the worker of %s was lost (%s); another continues from %s tokens", segment, reason, f"{saved:,}"
        )


class Refusals:
    """Counts the refusals of the executor in a row, and decides when to submit again."""

    def __init__(self) -> None:
        self._count, self._wait_until = 0, 0.0

    @property
    def should_wait(self) -> bool:
        """Whether the last refusal was too recent to submit again."""
        return self._count > 0 and time.monotonic() < self._wait_until

    def add(self, refusal: WorkersLostError) -> None:
        """Count a refusal and log the first in a row; raises it if there were too many."""
        self._count += 1
        self._wait_until = time.monotonic() + REFUSED_SECONDS
        if self._count == MAX_REFUSALS:
            raise refusal
        if self._count == 1:
            _log.warning("%s; trying again every %.0f s while others are trained", refusal, REFUSED_SECONDS)

    def reset(self) -> None:
        """Reset the count, as the executor accepted a segment."""
        self._count = 0

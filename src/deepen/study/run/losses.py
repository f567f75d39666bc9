"""Workers that are lost, and executors that take no segment: how often that is tolerated."""

import logging
import time
from collections import Counter

from deepen.study.compile.tree import Node
from deepen.study.run.errors import WorkersLostError
from deepen.study.store.study_folder import Store

_log = logging.getLogger(__name__)

MAX_WORKER_FAILURES = 3
"""Workers lost in a row on a segment, none of which advanced it, before the run ends."""

MAX_REFUSALS = 10
"""How often in a row the executor may take no segment, while others are trained, before the run ends."""

REFUSED_SECONDS = 30.0
"""Time after a refusal until the executor is asked again: it may be busy, or have as many jobs as it allows."""


class Attempts:
    """Counts the attempts at each segment, and the workers lost in a row on it without advancing it."""

    def __init__(self, store: Store) -> None:
        self._store, self._attempts = store, Counter[str]()
        self._lost: dict[str, tuple[int, int]] = {}  # by key: workers lost in a row, tokens saved at the last loss

    def begin(self, node: Node) -> int:
        """Begin an attempt at a segment; returns its number."""
        self._attempts[node.key] += 1
        return self._attempts[node.key]

    def lose_worker(self, node: Node, reason: str) -> None:
        """Log that a segment lost its worker.

        Raises:
            WorkersLostError: it was the last one tolerated.
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
    """Counts how often in a row the executor took no segment, and decides when it is asked again."""

    def __init__(self) -> None:
        self._count, self._wait_until = 0, 0.0

    @property
    def should_wait(self) -> bool:
        """Whether the last refusal was a moment ago."""
        return self._count > 0 and time.monotonic() < self._wait_until

    def add(self, refusal: WorkersLostError) -> None:
        """Count a refusal and log the first in a row; raises the last one tolerated."""
        self._count += 1
        self._wait_until = time.monotonic() + REFUSED_SECONDS
        if self._count == MAX_REFUSALS:
            raise refusal
        if self._count == 1:
            _log.warning("%s; asking again every %.0f s while others are trained", refusal, REFUSED_SECONDS)

    def reset(self) -> None:
        """Start to count anew: the executor took a segment."""
        self._count = 0

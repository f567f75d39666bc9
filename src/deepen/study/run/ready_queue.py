"""The order in which segments are trained: of those that are ready, the one with the longest remaining route
first.

The longest remaining route determines how long a study takes, so it never waits:

    tree        A (2 h) - B (5 h)         longest remaining route: A 7 h, B 5 h
                C (3 h)                   C 3 h
    2 workers   A and C start; after 2 h, B starts; done after 7 h

The queue uses no clocks or processes, so a simulation can use it too.
"""

import heapq
from collections.abc import Collection

from deepen.study.compile.tree import Node, Tree


def training_flops(node: Node) -> int:
    """FLOPs of training a segment."""
    return node.segment.flops


def remaining_flops(tree: Tree) -> dict[str, int]:
    """FLOPs of the longest route that begins with each segment, by key."""
    remaining: dict[str, int] = {}
    children = tree.children()
    for node in reversed(tree.nodes.values()):
        behind = max((remaining[child] for child in children.get(node.key, ())), default=0)
        remaining[node.key] = training_flops(node) + behind
    return remaining


class ReadyQueue:
    """The segments that can start now, the longest remaining route first; ties are broken by key.

    Args:
        tree: the tree of a study.
        pending: keys of the segments to train.
    """

    def __init__(self, tree: Tree, pending: Collection[str]) -> None:
        self._running: set[str] = set()
        self.replan(tree, pending)

    def replan(self, tree: Tree, pending: Collection[str]) -> None:
        """Continue with another tree of the study; segments in training stay so."""
        self._nodes, self._children, self._remaining = tree.nodes, tree.children(), remaining_flops(tree)
        self._unfinished = {*pending, *self._running}
        self._ready: list[tuple[int, str]] = []
        for key in self._unfinished - self._running:
            if tree.nodes[key].parent not in self._unfinished:
                self._push(key)

    @property
    def unfinished(self) -> int:
        """The number of segments that are not finished, including those in training."""
        return len(self._unfinished)

    def pop(self) -> Node | None:
        """The next segment to start; None if none is ready."""
        if not self._ready:
            return None
        _, key = heapq.heappop(self._ready)
        self._running.add(key)
        return self._nodes[key]

    def put_back(self, node: Node) -> None:
        """Put back a segment that was started but not finished.

        If the tree was cut before it in the meantime, it has a new parent, and waits until that is finished.
        """
        self._running.discard(node.key)
        if self._nodes[node.key].parent not in self._unfinished:
            self._push(node.key)

    def finish(self, node: Node) -> None:
        """Mark a segment as finished, so that its children can start."""
        self._running.discard(node.key)
        self._unfinished.discard(node.key)
        for child in self._children.get(node.key, ()):
            if child in self._unfinished and child not in self._running:
                self._push(child)

    def _push(self, key: str) -> None:
        heapq.heappush(self._ready, (-self._remaining[key], key))

"""The order in which segments are trained: of those whose parent is done, the one with the most work behind it.

The longest remaining route decides how long a study takes, so it is never kept waiting:

    tree        A (2 h) - B (5 h)         remaining on the longest route: A 7 h, B 5 h
                C (3 h)                   C 3 h
    2 workers   A and C start; after 2 h, B starts; done after 7 h

The policy is pure, without clocks or processes, so that a simulation can use it too.
"""

import heapq
from collections.abc import Collection

from deepen.study.compile.tree import Node, Tree


def training_flops(node: Node) -> int:
    """FLOPs of training a segment."""
    return (node.segment.end - node.segment.start) * node.segment.flops_per_token


def remaining_flops(tree: Tree) -> dict[str, int]:
    """FLOPs on the longest route from each segment, itself included, to the end."""
    remaining: dict[str, int] = {}
    children = tree.children()
    for node in reversed(tree.nodes.values()):
        behind = max((remaining[child] for child in children.get(node.key, ())), default=0)
        remaining[node.key] = training_flops(node) + behind
    return remaining


class ReadyQueue:
    """The segments that can start now, the most remaining work first; ties are broken by key.

    Args:
        tree: the segments.
        pending: keys of those still to be trained.
    """

    def __init__(self, tree: Tree, pending: Collection[str]) -> None:
        self._nodes, self._children, self._remaining = tree.nodes, tree.children(), remaining_flops(tree)
        self._unfinished = set(pending)
        self._ready: list[tuple[int, str]] = []
        for key in self._unfinished:
            if tree.nodes[key].parent not in self._unfinished:
                self.put_back(tree.nodes[key])

    @property
    def unfinished(self) -> int:
        """How many segments are not finished, those being trained included."""
        return len(self._unfinished)

    def pop(self) -> Node | None:
        """The segment to start next, None where no other can start yet."""
        return self._nodes[heapq.heappop(self._ready)[1]] if self._ready else None

    def put_back(self, node: Node) -> None:
        """Let a segment that was started and not finished start again."""
        heapq.heappush(self._ready, (-self._remaining[node.key], node.key))

    def finish(self, node: Node) -> None:
        """Note that a segment is finished; those that begin with its state can start."""
        self._unfinished.discard(node.key)
        for child in self._children.get(node.key, ()):
            if child in self._unfinished:
                self.put_back(self._nodes[child])

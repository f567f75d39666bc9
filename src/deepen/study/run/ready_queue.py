"""Which segment next: of those whose parent is done, the one with the most work behind it.

Pure policy, without clocks or processes: `run.py` and `benchmarks/schedule_simulation.py` both go by it.
"""

import heapq
from collections.abc import Collection

from deepen.study.compile.tree import Node, Tree


def flops_of(node: Node) -> int:
    """FLOPs of training a segment."""
    return (node.segment.end - node.segment.start) * node.segment.flops_per_token


def work_behind(tree: Tree) -> dict[str, int]:
    """FLOPs on the longest way from each segment, itself included, to the end of a path."""
    longest: dict[str, int] = {}
    children = tree.children()
    for node in reversed(tree.nodes.values()):
        behind = max((longest[child] for child in children.get(node.key, ())), default=0)
        longest[node.key] = flops_of(node) + behind
    return longest


class ReadyQueue:
    """The segments that can start now, most work behind first; ties go by key, so the order is always the same."""

    def __init__(self, tree: Tree, missing: Collection[str]) -> None:
        """Of a tree, of which the segments `missing` are still to be trained."""
        self._nodes, self._children, self._behind = tree.nodes, tree.children(), work_behind(tree)
        self._missing = set(missing)
        self._ready: list[tuple[int, str]] = []
        for key in self._missing:
            if tree.nodes[key].parent not in self._missing:
                self.put_back(tree.nodes[key])

    @property
    def left(self) -> int:
        """Segments that are not done, those being trained included."""
        return len(self._missing)

    def pop(self) -> Node | None:
        """The segment to start next, None where no other can start yet."""
        return self._nodes[heapq.heappop(self._ready)[1]] if self._ready else None

    def put_back(self, node: Node) -> None:
        """A segment that was started and not finished can start again."""
        heapq.heappush(self._ready, (-self._behind[node.key], node.key))

    def done(self, node: Node) -> None:
        """A segment was trained to its end: those that begin with its state can start."""
        self._missing.discard(node.key)
        for child in self._children.get(node.key, ()):
            if child in self._missing:
                self.put_back(self._nodes[child])

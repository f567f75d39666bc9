"""From a study to the tree of segments that has to be trained.

A *route* leads to each mark of each arm. Its schedule is split into *pieces*, where the phase or the learning rate
changes, and pieces are cut into *segments*, where some route ends or leaves them. A segment's key is the hash of
what led to its piece, of the piece, and of the segment's end (see `keys`). Routes that begin alike therefore
contain the same keys: they share segments without anybody arranging it.

Two arms of a study, 3 steps of 10 tokens at depth 1, and 6 of which the last 3 are at depth 2 (constant rate):

    small      piece [0, 30) depth 1                             cut where `small` ends: 30
    one-shot   piece [0, 30) depth 1, piece [30, 60) depth 2     cut at 30 too, and at 60
    nodes      A = [0, 30) depth 1;  B = [30, 60) depth 2, grown from A's state
    routes     small: A;  one-shot: A, B
    sharing    60 tokens are trained where the arms alone would take 90

Had `small` ended at 20, the first piece of `one-shot` would have been cut there: [0, 20) and [20, 30).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deepen.study.compile.evaluation_points import EvaluationPoint, evaluation_points
from deepen.study.compile.keys import piece_key, root_key, segment_key
from deepen.study.compile.marks import Mark, compile_marks
from deepen.study.compile.pieces import split_schedule
from deepen.study.define.study import Arm, Study
from deepen.train.segment import Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A segment in the tree.

    Attributes:
        key: identifies the segment by everything its numbers depend on.
        parent: key of the segment whose state it starts from; None for a fresh state.
        seed: seed of initialisation and data order.
        segment: what is trained.
        evaluations: what is measured, and when, in order.
    """

    key: str
    parent: str | None
    seed: int
    segment: Segment
    evaluations: tuple[EvaluationPoint, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """The keys of the segments that lead an arm with one seed to one mark."""

    arm: Arm
    seed: int
    mark: Mark
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """All segments of a study by key, parents before children, and the routes through them."""

    study: Study
    data_fingerprint: str
    nodes: dict[str, Node]
    routes: tuple[Route, ...]

    @property
    def mark_keys(self) -> frozenset[str]:
        """Keys of the segments at whose end a mark is measured."""
        return frozenset(route.keys[-1] for route in self.routes)

    def children(self) -> dict[str, list[str]]:
        """Keys of the segments that start from each segment's state."""
        children = defaultdict(list)
        for node in self.nodes.values():
            if node.parent is not None:
                children[node.parent].append(node.key)
        return children


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draft:
    """A route before it is cut: its pieces, each with its key."""

    arm: Arm
    seed: int
    mark: Mark
    pieces: tuple[tuple[str, Segment], ...]


def compile_study(study: Study, data_fingerprint: str) -> Tree:
    """The tree of a study on data that has this fingerprint.

    Raises:
        ValueError: an arm does not fit; the message names the arm.
    """
    drafts = tuple(_drafts(study, data_fingerprint))
    cuts: dict[str, set[int]] = defaultdict(set)  # by key of the piece: where some route leaves it
    for draft in drafts:
        for key, piece in draft.pieces:
            cuts[key].add(piece.end)

    nodes: dict[str, Node] = {}
    routes = []
    for draft in drafts:
        keys: list[str] = []
        for key, piece in draft.pieces:
            ends = sorted(end for end in cuts[key] if end <= piece.end)
            for segment in _cut(piece, ends):
                parent = keys[-1] if keys else None
                keys.append(segment_key(key, segment.end))
                nodes.setdefault(keys[-1], Node(key=keys[-1], parent=parent, seed=draft.seed, segment=segment))
        routes.append(Route(arm=draft.arm, seed=draft.seed, mark=draft.mark, keys=tuple(keys)))
    marks = {route.keys[-1] for route in routes}
    return Tree(
        study=study,
        data_fingerprint=data_fingerprint,
        nodes={key: _with_evaluations(node, study, is_mark=key in marks) for key, node in nodes.items()},
        routes=tuple(routes),
    )


def _drafts(study: Study, data_fingerprint: str) -> Iterator[_Draft]:
    """Every route of a study, uncut."""
    ledger = study.ledger
    for arm in study.arms:
        marks = [(mark, split_schedule(mark.schedule, ledger)) for mark in compile_marks(study, arm)]
        for seed in study.seeds:
            root = root_key(study, data_fingerprint, seed)
            for mark, pieces in marks:
                yield _Draft(arm=arm, seed=seed, mark=mark, pieces=tuple(_keyed(pieces, root)))


def _keyed(pieces: list[Segment], root: str) -> Iterator[tuple[str, Segment]]:
    """Each piece with its key; the key of a whole piece is the anchor of the next."""
    anchor = root
    for piece in pieces:
        key = piece_key(anchor, piece)
        yield key, piece
        anchor = segment_key(key, piece.end)


def _cut(piece: Segment, ends: list[int]) -> Iterator[Segment]:
    """The segments of a piece that is cut at `ends`; only the first grows the model or resets moments."""
    start = piece.start
    for end in ends:
        if start == piece.start:
            yield replace(piece, end=end)
        else:
            yield replace(piece, start=start, end=end, growth=None, reset_moments=False)
        start = end


def _with_evaluations(node: Node, study: Study, *, is_mark: bool) -> Node:
    points = evaluation_points(node.segment, study.evaluation, is_mark=is_mark)
    return replace(node, evaluations=points)

"""Compiling a study into the tree of segments to train.

A *route* leads to each mark of each arm. Its schedule is split into *pieces*, at each change of the phase or of
the learning rate. Pieces are cut into *segments*, at each point where a route ends or leaves the piece. A
segment's key is the hash of everything before its piece, the piece, and the segment's end (see `keys`). So routes
that begin with the same training have the same keys there, and share these segments.

For example, `small` trains 2 steps of 10 tokens at depth 1, and `one-shot` trains 3 such steps and then 3 at depth
2:

    small      piece [0, 20) at depth 1
    one-shot   piece [0, 30) at depth 1, piece [30, 60) at depth 2
    segments   A = [0, 20)   B = [20, 30)   C = [30, 60), grown from the state at the end of B
    routes     small: A      one-shot: A, B, C
    sharing    60 tokens are trained, instead of 80 without sharing
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from deepen.schedule.plateau import Trigger
from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.schedule.schedule import Schedule
from deepen.study.compile.decisions import Decide, Decision, undecided
from deepen.study.compile.evaluation_points import EvaluationPoint, evaluation_points
from deepen.study.compile.keys import canonical, piece_key, root_key, segment_key
from deepen.study.compile.marks import Mark, compile_marks, decided_mark
from deepen.study.compile.pieces import split_schedule
from deepen.study.define.study import Arm, Study
from deepen.train.segment import Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A segment in the tree.

    Attributes:
        key: identifies the segment by everything its numbers depend on.
        parent: key of the segment whose final state it starts from; None for a new model.
        seed: seed of the initialization and of the data order.
        segment: the training.
        evaluations: the evaluations due during it, in order.
    """

    key: str
    parent: str | None
    seed: int
    segment: Segment
    evaluations: tuple[EvaluationPoint, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """The segments, by key, from the start of an arm with one seed to one of its marks."""

    arm: Arm
    seed: int
    mark: Mark
    keys: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The route as study.json records it, so that the states of a run can be found."""
        return {
            "arm": self.arm.name,
            "seed": self.seed,
            "accounting": self.mark.accounting,
            "budget_share": self.mark.budget_share,
            "keys": list(self.keys),
            "decisions": [decision.to_json() for decision in self.decisions],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """All segments of a study by key, parents before children, and the routes through them.

    `checks` are the keys of the segments after which an open decision may be taken.
    """

    study: Study
    data_fingerprint: str
    nodes: dict[str, Node]
    routes: tuple[Route, ...]
    checks: frozenset[str] = frozenset()

    @property
    def mark_keys(self) -> frozenset[str]:
        """Keys of the segments that end in a mark."""
        return frozenset(route.keys[-1] for route in self.routes)

    @property
    def tokens(self) -> int:
        """Tokens that the study trains: those of all segments."""
        return sum(node.segment.end - node.segment.start for node in self.nodes.values())

    @property
    def tokens_if_separate(self) -> int:
        """Tokens that the same runs would train if none shared a segment: those of all routes."""
        return sum(route.mark.schedule.tokens for route in self.routes)

    def children(self) -> dict[str, list[str]]:
        """Keys of the segments that start from each segment's state."""
        children = defaultdict(list)
        for node in self.nodes.values():
            if node.parent is not None:
                children[node.parent].append(node.key)
        return children


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draft:
    """A route before its pieces are cut into segments: the pieces with their keys."""

    arm: Arm
    seed: int
    mark: Mark
    pieces: "_Keyed"
    decisions: tuple[Decision, ...] = ()
    checks: tuple[tuple[str, int], ...] = ()

    @property
    def cuts(self) -> Iterator[tuple[str, int]]:
        """Where the route ends or leaves a piece, and where its losses are looked at, by key of the piece."""
        yield from ((key, piece.end) for key, piece in self.pieces)
        yield from self.checks


_Keyed = tuple[tuple[str, Segment], ...]
"""Pieces with their keys."""


def compile_study(study: Study, data_fingerprint: str, decide: Decide = undecided) -> Tree:
    """Compile a study into its tree, for data with this fingerprint.

    Args:
        study: the study.
        data_fingerprint: identifies its data.
        decide: looks up what training has decided so far.

    Raises:
        InvalidValueError: an arm does not fit the model or the tokens; the message names the arm.
    """
    drafts = tuple(_drafts(study, data_fingerprint, decide))
    cuts: dict[str, set[int]] = defaultdict(set)  # by piece key
    for draft in drafts:
        for key, end in draft.cuts:
            cuts[key].add(end)

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
        routes.append(
            Route(arm=draft.arm, seed=draft.seed, mark=draft.mark, keys=tuple(keys), decisions=draft.decisions)
        )
    marks = {route.keys[-1] for route in routes}
    is_open = [any(decision.is_open for decision in draft.decisions) for draft in drafts]
    return Tree(
        study=study,
        data_fingerprint=data_fingerprint,
        nodes={key: _with_evaluations(node, study, is_mark=key in marks) for key, node in nodes.items()},
        routes=tuple(routes),
        checks=frozenset(
            segment_key(key, end)
            for draft, waits in zip(drafts, is_open, strict=True)
            if waits
            for key, end in draft.checks
        ),
    )


def find_trunk(tree: Tree) -> frozenset[str]:
    """Keys of the segments from whose ends the same study with a larger budget would continue.

    They are those that have new children in the tree of twice the budget. For a run of 100 steps whose decay
    begins at 80, it is the segment that ends there; if it grows at half of its tokens, the one that ends at 50.
    """
    study = tree.study
    longer = replace(study, tokens=2 * study.tokens, earlier_tokens=(*study.earlier_tokens, study.tokens))
    with suppress(ValueError):  # a recipe of a user's own may refuse the length
        nodes = compile_study(longer, tree.data_fingerprint).nodes
        parents = (node.parent for node in nodes.values() if node.key not in tree.nodes)
        return frozenset(key for key in parents if key in tree.nodes)
    return frozenset()


def hash_own_recipes(study: Study) -> dict[str, str]:
    """For each arm whose recipe is a user's own function, the hash of its training at equal compute.

    It changes with what the function returns, not with its name or its code.

    Raises:
        InvalidValueError: such an arm does not fit the model or the tokens; the message names the arm.
    """
    hashes = {}
    for arm in study.arms:
        if isinstance(arm.recipe, str) and RECIPES.get(arm.recipe, BASELINE).is_part_of_deepen:
            continue
        first = study.first_budget  # a larger budget does not change the hash
        mark = next(mark for mark in compile_marks(first, arm) if mark.budget_share == 1.0)
        *_, (key, piece) = _keyed(split_schedule(mark.schedule, study.ledger), root="")
        plateaus = [canonical(phase.until) for phase in mark.schedule.phases if phase.until is not None]
        hashes[arm.name] = segment_key(f"{key} {plateaus}" if plateaus else key, piece.end)
    return hashes


def _drafts(study: Study, data_fingerprint: str, decide: Decide) -> Iterator[_Draft]:
    """The drafts of all routes of a study."""
    for arm in study.arms:
        marks = [(mark, split_schedule(mark.schedule, study.ledger)) for mark in compile_marks(study, arm)]
        for seed in study.seeds:
            root = root_key(study, data_fingerprint, seed)
            for mark, pieces in marks:
                if mark.schedule.has_trigger:
                    yield _decided_draft(study, arm, seed, mark, root, decide)
                else:
                    yield _Draft(arm=arm, seed=seed, mark=mark, pieces=tuple(_keyed(pieces, root)))


def _decided_draft(study: Study, arm: Arm, seed: int, mark: Mark, root: str, decide: Decide) -> _Draft:
    """The draft of a route with phases that a plateau may end: as decided, or with the latest end."""
    decisions: list[Decision] = []
    checks: list[tuple[str, int]] = []

    def choose(schedule: Schedule, trigger: Trigger) -> int:
        pieces = tuple(_keyed(split_schedule(schedule, study.ledger), root))
        piece_keys = {at: _find_piece(pieces, at) for at in (*trigger.checks, trigger.latest)}
        end = decide(trigger, {at: segment_key(key, at) for at, key in piece_keys.items()})
        decisions.append(
            Decision(trigger=trigger, end=trigger.latest if end is None else end, is_open=end is None)
        )
        checks.extend((key, at) for at, key in piece_keys.items())
        return decisions[-1].end

    decided = decided_mark(study, arm, mark, choose)
    return _Draft(
        arm=arm,
        seed=seed,
        mark=decided,
        pieces=tuple(_keyed(split_schedule(decided.schedule, study.ledger), root)),
        decisions=tuple(decisions),
        checks=tuple(checks),
    )


def _find_piece(pieces: _Keyed, tokens: int) -> str:
    """The key of the piece in which a position lies, or at whose end."""
    return next(key for key, piece in pieces if piece.start < tokens <= piece.end)


def _keyed(pieces: list[Segment], root: str) -> Iterator[tuple[str, Segment]]:
    """Each piece with its key, which depends on all pieces before it."""
    previous = root
    for piece in pieces:
        key = piece_key(previous, piece)
        yield key, piece
        previous = segment_key(key, piece.end)


def _cut(piece: Segment, ends: list[int]) -> Iterator[Segment]:
    """Cut a piece into segments at `ends`; only the first one grows the model or resets moments."""
    start = piece.start
    for end in ends:
        if start == piece.start:
            yield replace(piece, end=end)
        else:
            yield replace(piece, start=start, end=end, growth=None, reset_moments=False, changes_context=False)
        start = end


def _with_evaluations(node: Node, study: Study, *, is_mark: bool) -> Node:
    points = evaluation_points(node.segment, study.evaluation, is_mark=is_mark)
    return replace(node, evaluations=points)

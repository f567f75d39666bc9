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

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.study.compile.decisions import Decide, FindLoss, undecided, unknown_loss
from deepen.study.compile.evaluation_points import EvaluationPoint, evaluation_points
from deepen.study.compile.keys import canonical, segment_key
from deepen.study.compile.marks import compile_marks
from deepen.study.compile.pieces import split_schedule
from deepen.study.compile.routes import Draft, Drafter, keyed
from deepen.study.compile.routes import Route as Route
from deepen.study.compile.trials import Choices
from deepen.study.compile.tuning import choose
from deepen.study.define.study import Study
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
class Tree:
    """All segments of a study by key, parents before children, and the routes through them.

    Attributes:
        study: the study.
        data_fingerprint: identifies its data.
        nodes: the segments.
        routes: the routes of the arms. Those of an arm that waits for its trials have the study's rate, and are
            not trained.
        tuning: the trials, and what they have chosen.
        checks: keys of the segments after which an open decision may be taken, or a trial be over.
        waiting: keys of the segments that are only in the study's own runs, while trials have still to choose.
        given_up: keys of the segments that are only in trials that diverged, and are not trained.
    """

    study: Study
    data_fingerprint: str
    nodes: dict[str, Node]
    routes: tuple[Route, ...]
    tuning: Choices[Route]
    checks: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()

    @property
    def mark_keys(self) -> frozenset[str]:
        """Keys of the segments that end in a mark."""
        return frozenset(route.keys[-1] for route in self.routes)

    @property
    def trial_ends(self) -> frozenset[str]:
        """Keys of the segments at whose ends trials end. Nothing continues from their states."""
        return frozenset(route.keys[-1] for _, route in self.tuning.runs)

    @property
    def flops_to_come(self) -> int:
        """FLOPs of what follows from losses to come, at most: further trials, and the best fixed depths."""
        keys = {key for route in self._baseline_routes for key in route.keys}
        baseline = sum(self.nodes[key].segment.flops for key in keys)  # a depth is measured where the baseline is
        return self.tuning.max_flops_to_come + self.tuning.max_depths_to_come * baseline

    @property
    def _baseline_routes(self) -> list[Route]:
        return [route for route in self.routes if route.arm.name == self.study.baseline]

    @property
    def flops(self) -> int:
        """Exact FLOPs of all segments, and at most of what follows from losses to come."""
        return sum(node.segment.flops for node in self.nodes.values()) + self.flops_to_come

    def can_change(self, find_loss: FindLoss) -> bool:
        """Whether the losses of trials so far, or a decision, can change the tree.

        A trial that ends changes nothing while others of its arm are in training.
        """
        if self.checks - self.trial_ends:
            return True
        return any(
            each.is_open and all(find_loss(run.keys[-1]) is not None for run in each.runs)
            for each in self.tuning.arms
        ) or any(find_loss(run.keys[-1]) == math.inf for run in self.tuning.open_runs)

    def has_same_training(self, other: "Tree") -> bool:
        """Whether the same segments are to be trained, for the same runs."""
        same_segments = self.nodes.keys() - self.given_up == other.nodes.keys() - other.given_up
        return same_segments and (self.routes, self.waiting) == (other.routes, other.waiting)

    @property
    def tokens(self) -> int:
        """Tokens that the study trains: those of all segments, and at most of what follows from losses to come."""
        baseline = {key for route in self._baseline_routes for key in route.keys}
        return self._tokens_of(self.nodes) + self._tokens_to_come(self._tokens_of(baseline))

    @property
    def tokens_if_separate(self) -> int:
        """Tokens that the same runs would train if none shared a segment: those of all routes."""
        trials = (route for _, route in self.tuning.runs)
        baseline = sum(route.mark.schedule.tokens for route in self._baseline_routes)
        routes = sum(route.mark.schedule.tokens for route in (*self.routes, *trials))
        return routes + self._tokens_to_come(baseline)

    def _tokens_of(self, keys: Iterable[str]) -> int:
        return sum(self.nodes[key].segment.tokens for key in keys)

    def _tokens_to_come(self, baseline: int) -> int:
        """Tokens of what `flops_to_come` counts, at most, if the baseline's runs train `baseline` tokens.

        A best fixed depth may be the shallowest, which has the most tokens for the same FLOPs.
        """
        depths = self.tuning.max_depths_to_come * self.tuning.max_depth_ratio * baseline
        return self.tuning.max_tokens_to_come + round(depths)

    def children(self) -> dict[str, list[str]]:
        """Keys of the segments that start from each segment's state."""
        children = defaultdict(list)
        for node in self.nodes.values():
            if node.parent is not None:
                children[node.parent].append(node.key)
        return children


def compile_study(
    study: Study, data_fingerprint: str, decide: Decide = undecided, find_loss: FindLoss = unknown_loss
) -> Tree:
    """Compile a study into its tree, for data with this fingerprint.

    Args:
        study: the study.
        data_fingerprint: identifies its data.
        decide: looks up where training has ended phases so far.
        find_loss: looks up the losses of trials so far.

    Raises:
        InvalidValueError: an arm does not fit the model or the tokens; the message names the arm.
    """
    choices = choose(study, data_fingerprint, decide, find_loss)
    drafts = tuple(
        _drafts(choices, Drafter(study=choices.study, data_fingerprint=data_fingerprint, decide=decide))
    )
    trials = [run for _, run in choices.runs]
    cuts: dict[str, set[int]] = defaultdict(set)  # by piece key
    for draft in (*trials, *drafts):
        for key, end in draft.cuts:
            cuts[key].add(end)

    nodes: dict[str, Node] = {}

    def cut(draft: Draft) -> Route:
        """The route of a draft, whose segments are added to the nodes."""
        keys: list[str] = []
        for key, piece in draft.pieces:
            ends = sorted(end for end in cuts[key] if end <= piece.end)
            for segment in _cut(piece, ends):
                parent = keys[-1] if keys else None
                keys.append(segment_key(key, segment.end))
                nodes.setdefault(keys[-1], Node(key=keys[-1], parent=parent, seed=draft.seed, segment=segment))
        return Route(arm=draft.arm, seed=draft.seed, mark=draft.mark, keys=tuple(keys), decisions=draft.decisions)

    tuning = choices.convert(cut)
    routes = tuple(cut(draft) for draft in drafts)
    tree = Tree(study=study, data_fingerprint=data_fingerprint, nodes=nodes, routes=routes, tuning=tuning)
    checks = {segment_key(key, end) for draft in (*trials, *drafts) if draft.is_open for key, end in draft.checks}
    checks |= {route.keys[-1] for route in tuning.open_runs}
    waiting = routes if tuning.is_open else ()  # until it is known which of them begin alike, and share training
    return replace(
        tree,
        nodes=_with_evaluations(tree),
        checks=frozenset(checks),
        waiting=_find_only_in(waiting, tree),
        given_up=_find_only_in([*tuning.given_up], tree),
    )


def _find_only_in(routes: Sequence[Route], tree: Tree) -> frozenset[str]:
    """Keys of the segments that are in these routes, and in no other route or trial."""
    named = {id(route) for route in routes}
    others = (route for route in (*tree.routes, *(run for _, run in tree.tuning.runs)) if id(route) not in named)
    return frozenset(
        {key for route in routes for key in route.keys} - {key for route in others for key in route.keys}
    )


def find_trunk(tree: Tree) -> frozenset[str]:
    """Keys of the segments from whose ends the same study with a larger budget would continue.

    They are those that have new children in the tree of twice the budget. For a run of 100 steps whose decay
    begins at 80, it is the segment that ends there; if it grows at half of its tokens, the one that ends at 50.
    """
    study = tree.tuning.study  # without trials: their states are not kept
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
        *_, (key, piece) = keyed(split_schedule(mark.schedule, study.ledger), root="")
        plateaus = [canonical(phase.until) for phase in mark.schedule.phases if phase.until is not None]
        hashes[arm.name] = segment_key(f"{key} {plateaus}" if plateaus else key, piece.end)
    return hashes


def _drafts(choices: Choices[Draft], drafter: Drafter) -> Iterator[Draft]:
    """The drafts of all routes of a study, apart from its trials."""
    study = choices.study
    for arm in study.arms:
        marks = compile_marks(study, arm, at_anchors=arm.name == choices.best_fixed_depth)
        yield from drafter.drafts(arm, study.seeds, marks)


def _cut(piece: Segment, ends: list[int]) -> Iterator[Segment]:
    """Cut a piece into segments at `ends`; only the first one grows the model or resets moments."""
    start = piece.start
    for end in ends:
        if start == piece.start:
            yield replace(piece, end=end)
        else:
            yield replace(piece, start=start, end=end, growth=None, reset_moments=False, changes_context=False)
        start = end


def _with_evaluations(tree: Tree) -> dict[str, Node]:
    """The nodes of a tree with the evaluations that are due; of trials, only the loss at their ends."""
    evaluation, routes = tree.study.evaluation, tree.routes
    in_runs = {key for route in routes for key in route.keys}
    return {
        key: replace(
            node,
            evaluations=evaluation_points(
                node.segment,
                evaluation if key in in_runs else evaluation.at_ends,
                is_mark=key in tree.mark_keys or key in tree.trial_ends,
            ),
        )
        for key, node in tree.nodes.items()
    }

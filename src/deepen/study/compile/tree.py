"""From arms to a tree of segments.

A mark's schedule is cut where phase or rate change into *pieces*, and pieces where some mark's path ends or
leaves into *segments*. The key of a segment is the hash of what led to the piece it lies in, the piece's own
explicit recipe, and the segment's end. Where else the piece was cut has no say, because cutting does not
change a bit; so keys stay when a study gets more arms or marks, and paths that begin alike share segments
without anybody arranging it.
"""

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import Any

from deepen.compute.ledger import Ledger, new_blocks_per_phase
from deepen.growth.operators import operator_named
from deepen.schedule.phase import Growth, Schedule, Scope
from deepen.study.define.study import Arm, Mark, Study, compile_marks
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings

FORMAT = 3
"""Raised when the same recipe would give other numbers than before, so that old results are not reused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A segment in the tree: its key, the key of the state it starts from (None: a fresh one), its seed."""

    key: str
    parent: str | None
    seed: int
    segment: Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """The segments that lead an arm with one seed to one mark."""

    arm: Arm
    seed: int
    mark: Mark
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """All segments of a study, parents before children, and the paths through them."""

    nodes: dict[str, Node]
    paths: tuple[Path, ...]

    @property
    def mark_keys(self) -> frozenset[str]:
        """Keys of the segments at whose end a mark is measured."""
        return frozenset(path.keys[-1] for path in self.paths)

    def children(self) -> dict[str, list[str]]:
        """Keys of the segments that start from each segment's state."""
        children = defaultdict(list)
        for node in self.nodes.values():
            if node.parent is not None:
                children[node.parent].append(node.key)
        return children


def pieces(schedule: Schedule, ledger: Ledger) -> list[Segment]:
    """A schedule in whole steps as the longest stretches with one explicit recipe, in order."""
    result: list[Segment] = []
    total = schedule.tokens
    rates = schedule.lr.pieces(total, schedule.phases[0].batch_tokens)
    rate_starts = [max(0, rate.start) for rate in rates] + [total]
    begin, depth = 0, schedule.phases[0].depth
    for phase, new_blocks in zip(schedule.phases, new_blocks_per_phase(schedule), strict=True):
        end = begin + phase.tokens
        for rate, rate_start, rate_end in zip(rates, rate_starts, rate_starts[1:], strict=False):
            start, stop = max(begin, rate_start), min(end, rate_end)
            if start >= stop:
                continue
            piece = Segment(
                depth=phase.depth,
                train=phase.train,
                new_blocks=() if phase.train is Scope.ALL else new_blocks,
                start=start,
                end=stop,
                batch_tokens=phase.batch_tokens,
                context=phase.context,
                rate=rate,
                growth=_explicit(schedule.growth) if start == begin and phase.depth > depth else None,
                reset_moments=phase.reset_moments and start == begin,
                flops_per_token=ledger.flops_per_token(phase, new_blocks),
                label=phase.label,
            )
            if result and _goes_on(result[-1], piece):
                result[-1] = replace(result[-1], end=stop)
            else:
                result.append(piece)
        begin, depth = end, phase.depth
    return result


def compile_tree(study: Study, fingerprint: str) -> Tree:
    """The tree of a study on the data of a fingerprint.

    Raises:
        ValueError: an arm does not fit; the message names the arm.
    """
    ledger = study.ledger
    routes = []  # every path as its pieces, each with the key that leads to it
    for arm in study.arms:
        marks = [(mark, pieces(mark.schedule, ledger)) for mark in compile_marks(study, arm)]
        for seed in study.seeds:
            for mark, stretch in marks:
                anchor, route = _root_key(study, fingerprint, seed), []
                for piece in stretch:
                    route.append((anchor, piece))
                    anchor = _key(anchor, piece)
                routes.append((arm, seed, mark, route))

    cuts: dict[str, set[int]] = defaultdict(set)  # piece → the ends at which some path leaves it
    for _, _, _, route in routes:
        for anchor, piece in route:
            cuts[_piece_id(anchor, piece)].add(piece.end)

    nodes: dict[str, Node] = {}
    paths = []
    for arm, seed, mark, route in routes:
        parent: str | None = None
        keys = []
        for anchor, piece in route:
            start = piece.start
            for end in sorted(cut for cut in cuts[_piece_id(anchor, piece)] if cut <= piece.end):
                first = start == piece.start
                segment = replace(
                    piece,
                    start=start,
                    end=end,
                    growth=piece.growth if first else None,
                    reset_moments=piece.reset_moments and first,
                )
                key = _key(anchor, replace(piece, end=end))
                nodes.setdefault(key, Node(key=key, parent=parent, seed=seed, segment=segment))
                keys.append(key)
                parent, start = key, end
        paths.append(Path(arm=arm, seed=seed, mark=mark, keys=tuple(keys)))
    return Tree(nodes=nodes, paths=tuple(paths))


def numeric_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings that results depend on beyond rounding."""
    return {
        k: v
        for k, v in settings.described().items()
        if k not in ("micro_batch_tokens", "compile", "activation_checkpointing")
    }


def _explicit(growth: Growth) -> Growth:
    return replace(growth, placement=growth.placement or operator_named(growth.operator).placement)


def _goes_on(piece: Segment, following: Segment) -> bool:
    """Whether `following` only continues `piece`."""
    if following.growth is not None or following.reset_moments:
        return False
    same = {"start": 0, "end": 0, "label": "", "growth": None, "reset_moments": False}
    return replace(piece, **same) == replace(following, **same)  # type: ignore[arg-type]


def _root_key(study: Study, fingerprint: str, seed: int) -> str:
    model = asdict(study.model)
    del model["name"]
    return _hash({
        "format": FORMAT,
        "model": model,
        "data": fingerprint,
        "window": study.context,
        "settings": numeric_settings(study.settings),
        "seed": seed,
    })  # fmt: skip


def recipe_of(piece: Segment) -> dict[str, Any]:
    """What a piece is, without its end and without what only people read."""
    return {k: v for k, v in asdict(piece).items() if k not in ("end", "label", "flops_per_token")}


def _piece_id(anchor: str, piece: Segment) -> str:
    return _hash({"after": anchor, "recipe": recipe_of(piece)})


def _key(anchor: str, piece: Segment) -> str:
    return _hash({"piece": _piece_id(anchor, piece), "end": piece.end})


def _hash(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]

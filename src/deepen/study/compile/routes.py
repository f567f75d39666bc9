"""Routes: the training from the start of an arm with one seed to one of its marks.

A route is a draft first: pieces with their keys. When all drafts of a study are known, their pieces are cut where
another route ends or leaves them (see `tree`), and a draft becomes a route through segments. The key of its last
segment depends on no cut, so a draft knows it already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deepen.schedule.plateau import Trigger
from deepen.schedule.schedule import Schedule
from deepen.study.compile.decisions import Decide, Decision
from deepen.study.compile.keys import piece_key, root_key, segment_key
from deepen.study.compile.marks import Mark, decided_mark
from deepen.study.compile.pieces import split_schedule
from deepen.study.define.study import Arm, Study
from deepen.train.segment import Segment


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


KeyedPieces = tuple[tuple[str, Segment], ...]
"""Pieces with their keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A route before its pieces are cut into segments: the pieces with their keys."""

    arm: Arm
    seed: int
    mark: Mark
    pieces: KeyedPieces
    decisions: tuple[Decision, ...] = ()
    checks: tuple[tuple[str, int], ...] = ()

    @property
    def cuts(self) -> Iterator[tuple[str, int]]:
        """Where the route ends or leaves a piece, and where its losses are looked at, by key of the piece."""
        yield from ((key, piece.end) for key, piece in self.pieces)
        yield from self.checks

    @property
    def end_key(self) -> str:
        """The key of the segment that ends in the mark."""
        key, piece = self.pieces[-1]
        return segment_key(key, piece.end)

    @property
    def is_open(self) -> bool:
        """Whether training has still to decide where a phase ends."""
        return any(decision.is_open for decision in self.decisions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drafter:
    """Makes the drafts of a study's runs.

    Attributes:
        study: the study.
        data_fingerprint: identifies its data.
        decide: looks up what training has decided so far.
    """

    study: Study
    data_fingerprint: str
    decide: Decide

    def drafts(self, arm: Arm, seeds: Sequence[int], marks: Sequence[Mark]) -> Iterator[Draft]:
        """The drafts of an arm with each seed to each of its marks."""
        pieces = [split_schedule(mark.schedule, self.study.ledger) for mark in marks]
        for seed in seeds:
            root = root_key(self.study, self.data_fingerprint, seed)
            for mark, own in zip(marks, pieces, strict=True):
                if mark.schedule.has_trigger:
                    yield self._decided_draft(arm, seed, mark, root)
                else:
                    yield Draft(arm=arm, seed=seed, mark=mark, pieces=tuple(keyed(own, root)))

    def _decided_draft(self, arm: Arm, seed: int, mark: Mark, root: str) -> Draft:
        """The draft of a route with phases that a plateau may end: as decided, or with the latest end."""
        decisions: list[Decision] = []
        checks: list[tuple[str, int]] = []
        ledger = self.study.ledger

        def choose(schedule: Schedule, trigger: Trigger) -> int:
            pieces = tuple(keyed(split_schedule(schedule, ledger), root))
            piece_keys = {at: _find_piece(pieces, at) for at in (*trigger.checks, trigger.latest)}
            end = self.decide(trigger, {at: segment_key(key, at) for at, key in piece_keys.items()})
            decisions.append(
                Decision(trigger=trigger, end=trigger.latest if end is None else end, is_open=end is None)
            )
            checks.extend((key, at) for at, key in piece_keys.items())
            return decisions[-1].end

        decided = decided_mark(self.study, arm, mark, choose)
        return Draft(
            arm=arm,
            seed=seed,
            mark=decided,
            pieces=tuple(keyed(split_schedule(decided.schedule, ledger), root)),
            decisions=tuple(decisions),
            checks=tuple(checks),
        )


def keyed(pieces: list[Segment], root: str) -> Iterator[tuple[str, Segment]]:
    """Each piece with its key, which depends on all pieces before it."""
    previous = root
    for piece in pieces:
        key = piece_key(previous, piece)
        yield key, piece
        previous = segment_key(key, piece.end)


def _find_piece(pieces: KeyedPieces, tokens: int) -> str:
    """The key of the piece in which a position lies, or at whose end."""
    return next(key for key, piece in pieces if piece.start < tokens <= piece.end)

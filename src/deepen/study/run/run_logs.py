"""Follow the logs of a run, which is an arm with one seed, while workers append to them.

A run's curves follow the arm's longest route through the tree, segment by segment. What was evaluated at the ends
of all its routes, its marks, comes beside them:

    metrics.jsonl   {"step": 7, "tokens": 224, "loss": 5.1, "lr": 0.001, "flops": ...}
    rows            Row(series="train", step=7, tokens=224, values={"train/loss": 5.1, "train/lr": 0.001, ...})
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepen.compute.accounting import EXACT_FLOPS
from deepen.evaluate.task import MARK_VALIDATION, VALIDATION
from deepen.study.compile.marks import Mark
from deepen.study.compile.tree import Route, Tree
from deepen.study.store.log_lines import Line, parse_log_line
from deepen.study.store.study_folder import Store

TRAIN = "train"

_COMPUTE = ("tokens", "flops", "seconds")
_ABOUT_A_SCORE = ("n", "stderr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Values at a step of a run. The rows of a series come in the order of tokens."""

    series: str
    step: int
    tokens: int
    values: dict[str, float]


class RunLogs:
    """What a run has logged, from its beginning on.

    Args:
        tree: the tree of a study.
        store: the study's folder.
        routes: the routes of one arm with one seed.
    """

    def __init__(self, tree: Tree, store: Store, routes: Sequence[Route]) -> None:
        self.arm, self.seed = routes[0].arm, routes[0].seed
        self._store = store
        self._read: set[str] = set()  # keys of the segments and marks that were read to their end
        self._follow(tree, routes)
        self._metrics, self._evaluations = self._open_logs()

    def replan(self, tree: Tree, routes: Sequence[Route]) -> None:
        """Continue with another tree of the study."""
        current = self._segments[:1]
        self._follow(tree, routes)
        if self._segments[:1] != current:
            self._metrics, self._evaluations = self._open_logs()

    def _follow(self, tree: Tree, routes: Sequence[Route]) -> None:
        """Follow the longest of an arm's routes, as far as it was not read yet."""
        longest = max(routes, key=lambda route: route.mark.schedule.tokens)
        self._nodes = tree.nodes
        self._segments = [key for key in longest.keys if key not in self._read]
        self._marks = [route for route in routes if _name_mark(route) not in self._read]

    @property
    def name(self) -> str:
        """The name of the run among those of its study."""
        return f"{self.arm.name} seed {self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether everything was read, and nothing can follow."""
        return not self._segments and not self._marks

    def new_rows(self) -> Iterator[Row]:
        """The rows that were logged since the last call. Steps that are trained again come again."""
        while self._segments:
            is_done = self._is_done(self._segments[0])  # asked before the logs are read
            yield from self._read_segment()
            if not is_done:
                break
            self._read.add(self._segments.pop(0))
            self._metrics, self._evaluations = self._open_logs()
        for route in [route for route in self._marks if self._is_done(route.keys[-1])]:
            yield from self._mark_rows(route)
            self._read.add(_name_mark(route))
            self._marks.remove(route)

    def _is_done(self, key: str) -> bool:
        return self._store.segment(key).done is not None

    def _open_logs(self) -> "tuple[_GrowingLog, _GrowingLog]":
        """The logs of the segment that is next."""
        folder = self._store.segment(self._segments[0]).folder if self._segments else Path()
        return _GrowingLog(folder / "metrics.jsonl"), _GrowingLog(folder / "evals.jsonl")

    def _read_segment(self) -> Iterator[Row]:
        """The new rows of the segment that is next, in the order of tokens."""
        segment = self._nodes[self._segments[0]].segment
        rows = [_step_row(line) for line in self._metrics.read() if line["tokens"] <= segment.end]
        rows += [
            _evaluation_row(line)
            for line in self._evaluations.read()
            if line["tokens"] <= segment.end and line["task"] != MARK_VALIDATION
        ]
        yield from sorted(rows, key=lambda row: row.tokens)

    def _mark_rows(self, route: Route) -> Iterator[Row]:
        end = route.mark.schedule.tokens
        for line in self._store.segment(route.keys[-1]).lines("evals"):
            if line["tokens"] == end and line["task"] != VALIDATION:
                yield _mark_row(line, route.mark)


def _name_mark(route: Route) -> str:
    """A name for a mark, which a run has once."""
    return f"{route.mark.accounting} {route.mark.budget_share}"


class _GrowingLog:
    """Reads a log that grows, each line once; after it was truncated, from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._file = path, 0, 0

    def read(self) -> list[Line]:
        """The new complete lines."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._file or status.st_size < self._offset:  # truncated logs are written anew
                    self._offset, self._file = 0, status.st_ino
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        size = content.rfind(b"\n") + 1
        self._offset += size
        lines = (parse_log_line(text) for text in content[:size].splitlines())
        return [line for line in lines if line is not None]


def _step_row(line: Line) -> Row:
    other = {f"train/{name}": value for name, value in _numbers(line)}
    return _row(TRAIN, line, other | {f"compute/{name}": line[name] for name in _COMPUTE})


def _evaluation_row(line: Line) -> Row:
    task = line["task"]
    name = "val/loss" if task == VALIDATION else f"tasks/{task}"
    return _row(task, line, _scores(line, name))


def _mark_row(line: Line, mark: Mark) -> Row:
    """A score at a mark; its name has the accounting where that is not exact FLOPs."""
    task = line["task"]
    where = "mark" if mark.accounting == EXACT_FLOPS else f"mark-{mark.accounting}"
    name = f"{where}/{'val_loss' if task == MARK_VALIDATION else task}"
    return _row(f"{where} {mark.budget_share} {task}", line, _scores(line, name))


def _scores(line: Line, name: str) -> dict[str, float]:
    """The value of an evaluation, and the further metrics that stand beside it."""
    further = {f"{name}/{key}": value for key, value in _numbers(line) if key not in ("value", *_ABOUT_A_SCORE)}
    return {name: line["value"], **further}


def _row(series: str, line: Line, values: dict[str, float]) -> Row:
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return Row(series=series, step=line["step"], tokens=line["tokens"], values=finite)


def _numbers(line: Line) -> Iterator[tuple[str, float]]:
    """The numbers of a line that do not say where in the run it was written."""
    for name, value in line.items():
        if name not in ("step", *_COMPUTE) and isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value

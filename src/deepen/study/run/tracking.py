"""Fill trackers from the logs of a study, while it is trained and afterwards.

A run of a tracker is an arm with one seed. Its curves follow the arm's longest route through the tree; the losses
and scores at all marks of the arm are logged under `mark/`. Workers append to metrics.jsonl and evals.jsonl
wherever they train, and the command reads what is new there about once a second: no executor has to do anything.

    metrics.jsonl, evals.jsonl ──▶ RunLogs: new rows, in order ──▶ _Feed ──▶ tracker
                                                                     │
                                     trackers/NAME.json: the tokens up to which each series is logged

So a tracker that is named for the first time when a study is finished receives all of it, one that failed or was
left out for a while receives the rest, and steps that are trained again after a kill are not logged again. Rows
are recorded as logged just before they are: if the command itself is killed there, those of a second are missing,
and none is there twice.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

from deepen import durable
from deepen.interop.trackers import OpenRun, TrackedRun, get_tracker
from deepen.schedule.json_form import to_json
from deepen.schedule.recipes import get_recipe
from deepen.study.compile.tree import Route, Tree
from deepen.study.define.study import Study
from deepen.study.run.run_logs import Row, RunLogs
from deepen.study.store.study_folder import Store

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

PATIENCE_SECONDS = 60.0
"""How long the end of a command waits for a tracker that takes no rows."""

ROWS_AT_ONCE = 500
"""The most rows between two writes of the record of what is logged."""


class Tracking:
    """Fills trackers inside a `with` block, each from a thread of its own. Trackers cannot end training.

    Args:
        tree: the tree of a study.
        store: the study's folder.
        names: names of trackers.
    """

    def __init__(self, tree: Tree, store: Store, names: Sequence[str]) -> None:
        self._feeds = [_Feed(name, tree, store) for name in dict.fromkeys(names)]

    def __enter__(self) -> "Tracking":
        for feed in self._feeds:
            feed.start()
        return self

    def replan(self, tree: Tree) -> None:
        """Continue with another tree of the study."""
        for feed in self._feeds:
            feed.replan(tree)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Log what the logs still have, then end."""
        for feed in self._feeds:
            feed.request_end()
        for feed in self._feeds:
            feed.wait()


class _Feed:
    """Logs all runs of a study to one tracker, from a thread of its own."""

    def __init__(self, name: str, tree: Tree, store: Store) -> None:
        self._name, self._study, self._store, self._folder = name, tree.study, store, store.folder
        self._record = _Record(store.folder / "trackers" / f"{name}.json")
        self._runs = [RunLogs(tree, store, routes) for routes in _routes_by_run(tree)]
        self._newest = self._followed = tree
        self._open: dict[str, OpenRun] = {}
        self._is_over, self._advanced_at = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._feed, name=f"tracker {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def replan(self, tree: Tree) -> None:
        self._newest = tree  # the thread takes it over

    def request_end(self) -> None:
        self._is_over.set()

    def wait(self) -> None:
        """Wait for the end, as long as the tracker takes rows."""
        self._advanced_at = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - self._advanced_at < PATIENCE_SECONDS:
            self._thread.join(timeout=0.2)
        if self._thread.is_alive():
            _log.warning(
                "tracker %s does not answer; what it has not received is in the study's folder", self._name
            )

    def _feed(self) -> None:
        try:
            self._record.load()
            is_last = False
            while not is_last:
                is_last = self._is_over.wait(POLL_SECONDS)
                if (newest := self._newest) is not self._followed:
                    self._replan(newest)
                    self._followed = newest
                for run in self._runs:
                    self._log_new_rows(run)
            for opened in self._open.values():
                opened.close()
        except durable.DamagedError as error:
            _log.warning(
                "tracker %s receives nothing (%s); training continues without it. Remove that file, and what the "
                "tracker has of this study: the same command then logs all of it again",
                self._name,
                error,
            )
        except Exception as error:
            _log.warning(
                "tracker %s failed (%s); training continues without it, and the same command catches up later",
                self._name,
                " ".join(f"{type(error).__name__}: {error}".split()),
            )

    def _replan(self, tree: Tree) -> None:
        """Follow the runs of another tree of the study, some of which may be new."""
        known = {(run.arm.name, run.seed): run for run in self._runs}
        for routes in _routes_by_run(tree):
            run = known.get((routes[0].arm.name, routes[0].seed))
            if run is None:
                self._runs.append(RunLogs(tree, self._store, routes))
            else:
                run.replan(tree, routes)

    def _log_new_rows(self, run: RunLogs) -> None:
        """Log the new rows of a run, and close it when no more can follow."""
        new = [row for row in run.new_rows() if row.tokens > self._record.tokens(run.name, row.series)]
        if new and run.name not in self._open:
            self._open[run.name] = self._open_run(run)
        for first in range(0, len(new), ROWS_AT_ONCE):
            rows, opened = new[first : first + ROWS_AT_ONCE], self._open[run.name]
            with self._record.logging(run.name, rows) as mark_logged:
                for row in rows:
                    opened.log(row.values, step=row.step, tokens=row.tokens)
                    mark_logged(row)
                opened.flush()
            self._advanced_at = time.monotonic()
        if run.is_finished and run.name in self._open:
            self._open.pop(run.name).close()

    def _open_run(self, run: RunLogs) -> OpenRun:
        tracker = get_tracker(self._name)
        if not self._open:
            _log.info("tracker %s: %s", self._name, tracker.hint(self._study.name, self._folder))
        return tracker.open(
            TrackedRun(
                project=self._study.name,
                group=run.arm.name,
                name=run.name,
                id=self._record.run_id(run.name),
                config=_describe(self._study, run),
                folder=self._folder,
            )
        )


class _Record:
    """What one tracker has received: of each run its id and, by series, the tokens of the last row.

    Args:
        path: the file that holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """Read the file, if there is one."""
        self._runs = (durable.read_json(self._path) or {}).get("runs", {})

    def run_id(self, run: str) -> str:
        """The id of a run, made when the run is named first."""
        return str(self._entry(run)["id"])

    def tokens(self, run: str, series: str) -> int:
        """The tokens of the last row of a series that was logged; -1 if there is none."""
        return int(self._entry(run)["tokens"].get(series, -1))

    @contextmanager
    def logging(self, run: str, rows: Sequence[Row]) -> "Iterator[Callable[[Row], None]]":
        """Record rows before they are logged in a `with` block; if it fails, record those that were logged.

        Yields:
            a function to call with each row after it was logged.
        """
        recorded = self._entry(run)["tokens"]
        logged = dict(recorded)
        recorded.update({row.series: row.tokens for row in rows})
        self._write()
        try:
            yield lambda row: logged.update({row.series: row.tokens})
        except Exception:
            self._entry(run)["tokens"] = logged
            self._write()
            raise

    def _entry(self, run: str) -> dict[str, Any]:
        return self._runs.setdefault(run, {"id": uuid.uuid4().hex[:8], "tokens": {}})

    def _write(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        durable.write_json(self._path, {"runs": self._runs})


def _routes_by_run(tree: Tree) -> list[list[Route]]:
    """The routes of each arm with each seed, in the study's order; none while trials have still to choose."""
    by_run = groupby(() if tree.tuning.is_open else tree.routes, key=lambda route: (route.arm.name, route.seed))
    return [list(routes) for _, routes in by_run]


def _describe(study: Study, run: RunLogs) -> dict[str, Any]:
    """The configuration of a run, as trackers list it."""
    return {
        "study": study.name,
        "arm": run.arm.name,
        "recipe": get_recipe(run.arm.recipe).name,
        "options": to_json(run.arm.options),
        "seed": run.seed,
        "rate": to_json(study.rate_for(run.arm)),
        "model": to_json(study.model),
        "baseline_tokens": study.baseline_tokens,
        "batch_tokens": study.batch_tokens,
        "context": study.context,
        "settings": to_json(study.settings),
        "data": study.data,
    }

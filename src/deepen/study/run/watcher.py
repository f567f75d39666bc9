"""Watch the running segments of a study, and report how far they are.

Workers append to metrics.jsonl every few seconds, wherever they run. The command reads the end of these files, so
it needs no other connection to its workers.
"""

import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from types import TracebackType

from deepen.study.compile.tree import Node, Tree
from deepen.study.run.progress import OnProgress, SegmentProgress, StudyProgress
from deepen.study.run.ready_queue import training_flops
from deepen.study.store.log_lines import tokens_trained
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store

_log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0


class Watcher:
    """Reports the progress of training once a second, from a thread of its own, inside a `with` block.

    Args:
        tree: the tree of a study.
        store: the study's folder.
        pending: the segments to train.
        on_progress: receives the progress.
    """

    def __init__(self, tree: Tree, store: Store, pending: Iterable[Node], on_progress: OnProgress) -> None:
        self._store, self._on_progress = store, on_progress
        self._running: dict[str, Node] = {}
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.replan(tree, pending)

    def replan(self, tree: Tree, pending: Iterable[Node]) -> None:
        """Continue with another tree of the study."""
        tokens = {node.key: self._store.segment(node.key).tokens_saved for node in pending}
        tokens |= dict.fromkeys(tree.waiting, 0)
        arms: dict[str, dict[str, None]] = {key: {} for key in tree.nodes}
        for route in tree.routes:
            for key in route.keys:
                arms[key][route.arm.name] = None
        for trial, route in tree.tuning.runs:
            for key in route.keys:
                arms[key][trial.name] = None
        runs = [
            {key for route in routes for key in route.keys}
            for _, routes in groupby(tree.routes, key=lambda route: (route.arm.name, route.seed))
        ]
        runs += [{*route.keys} for _, route in tree.tuning.runs]
        with self._lock:
            self._tree, self._tokens, self._arms, self._runs = tree, tokens, arms, runs

    def __enter__(self) -> "Watcher":
        self.report()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the thread, and report a last time."""
        self._is_over.set()
        self._thread.join()
        self.report()

    def begin(self, node: Node) -> None:
        """A segment is given to a worker."""
        with self._lock:
            self._running[node.key] = node

    def end(self, node: Node, *, finished: bool) -> None:
        """A worker has ended with a segment."""
        with self._lock:
            del self._running[node.key]
            if finished:
                self._tokens.pop(node.key, None)
            else:
                with suppress(OSError):
                    self._tokens[node.key] = self._store.segment(node.key).tokens_saved

    def _watch(self) -> None:
        while not self._is_over.wait(REPORT_SECONDS):
            self.report()

    def report(self) -> None:
        """Report the progress now. What only displays must not end training, whatever it finds on the disk."""
        try:
            self._on_progress(self._measure())
        except Exception:
            _log.debug("progress is not reported", exc_info=True)

    def _measure(self) -> StudyProgress:
        with self._lock:
            running = list(self._running.values())
        segments = tuple(self._read(node) for node in running)  # reads files, which may take long
        with self._lock:
            unfinished, nodes, runs = dict(self._tokens), self._tree.nodes.values(), self._runs
            to_come = self._tree.flops_to_come
        for node, segment in zip(running, segments, strict=True):
            if node.key in unfinished and segment.step:
                unfinished[node.key] = node.segment.start + segment.step * node.segment.batch_tokens
        return StudyProgress(
            flops=sum(_trained_flops(node, unfinished) for node in nodes),
            flops_total=sum(map(training_flops, nodes)) + to_come,
            runs_done=sum(not keys & unfinished.keys() for keys in runs),
            runs_total=len(runs),
            running=segments,
        )

    def _read(self, node: Node) -> SegmentProgress:
        """The progress of a segment, from the ends of its logs."""
        folder, segment = self._store.segment(node.key), node.segment
        saved = max(segment.start, self._tokens.get(node.key, 0))  # by an earlier worker
        lines = [line for line in folder.last_lines("metrics") if saved < line["tokens"] <= segment.end]
        tokens = lines[-1]["tokens"] if lines else saved
        seconds = lines[-1]["seconds"] - lines[0]["seconds"] if lines else 0.0
        return SegmentProgress(
            key=node.key,
            arms=tuple(self._arms.get(node.key, ())),
            seed=node.seed,
            depth=segment.layers,
            label=segment.label,
            step=(tokens - segment.start) // segment.batch_tokens,
            steps=segment.steps,
            loss=lines[-1]["loss"] if lines else None,
            tokens_per_second=(tokens - lines[0]["tokens"]) / seconds if seconds > 0 else None,
            is_evaluating=_is_evaluating(node, folder, tokens),
        )


def _trained_flops(node: Node, unfinished: dict[str, int]) -> int:
    """FLOPs of the finished steps of a segment."""
    segment = node.segment
    return segment.price(tokens_trained(segment, unfinished.get(node.key, segment.end)))


def _is_evaluating(node: Node, folder: SegmentFolder, tokens: int) -> bool:
    """Whether an evaluation is due after the step that was logged last, and not logged yet."""
    due = {task for point in node.evaluations if point.tokens == tokens for task in point.tasks}
    if not due:
        return False
    return bool(due - {line["task"] for line in folder.lines("evals") if line["tokens"] == tokens})

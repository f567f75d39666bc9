"""Run a tree: segments whose parents are done, on as many workers as there are, until all is there."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deepen.data.shards import Dataset
from deepen.study.compile.tree import Node, Tree
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.run.executors.workers import Outcome, WorkersLostError, open_workers
from deepen.study.run.ownership import stop_earlier_session
from deepen.study.run.ready_queue import ReadyQueue, flops_of
from deepen.study.run.worker import Job
from deepen.study.store.maintenance import repair
from deepen.study.store.retention import Lineage
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store, warn
from deepen.train.distributed.processes import ONE_PROCESS, World

Report = Callable[[int, int], None]
"""Called with the FLOPs trained so far and the FLOPs there are in all."""

MAX_WORKER_FAILURES = 3
"""Workers lost in a row on a segment, none of which got it further, before the run gives up."""

MAX_REFUSALS = 10
"""Times in a row that the executor takes no segment, while others are trained, before the run gives up."""

_REFUSED_SECONDS = 30.0
"""How long after a refusal the executor is asked again: it may be busy, or have as many jobs as it allows."""


class Interrupted(Exception):
    """The user asked to stop; all that was done is kept."""


def pending(tree: Tree, store: Store) -> list[Node]:
    """The segments still to be trained, parents first.

    A finished segment counts as missing where its state was dropped and a missing child needs it, or where it
    has become a mark and was not evaluated at its end.
    """
    children, missing = tree.children(), set[str]()
    for node in reversed(tree.nodes.values()):
        folder = store.segment(node.key)
        needed = node.key in tree.mark_keys or any(child in missing for child in children.get(node.key, ()))
        if folder.done is None or (needed and not folder.has_state) or _unmeasured(tree, node, folder):
            missing.add(node.key)
    return [node for node in tree.nodes.values() if node.key in missing]


def _unmeasured(tree: Tree, node: Node, folder: SegmentFolder) -> bool:
    ends = (line["tokens"] for line in folder.lines("evals"))
    return node.key in tree.mark_keys and node.segment.end not in ends


def run_tree(
    study: Study,
    tree: Tree,
    dataset: Dataset,
    folder: Path,
    report: Report,
    *,
    executor: ExecutorChoice,
    threads: int,
    keep: str = "last",
    verify: bool = False,
    world: World = ONE_PROCESS,
) -> None:
    """Train what is pending; segments with the most work behind them first.

    Args:
        report: told of the progress.
        executor: where segments are trained, and how many at once.
        threads: CPU threads of each. Sums are taken in another order with other threads, so a study keeps
            its number for all its life.
        keep: which states stay (`study.keep.KEEPS`).
        verify: hash every byte of every state first, rather than sizes and headers.
        world: the processes that train each segment together; with more than this one, it is one at a time.

    Raises:
        Interrupted: SIGINT or SIGTERM came; every segment stopped after a step and kept its state.
        WorkersLostError: a segment's worker was lost `MAX_WORKER_FAILURES` times without getting it further, or
            the executor is gone, or took no segment `MAX_REFUSALS` times in a row or while none was trained.
    """
    store, lineage = Store(folder), Lineage.of(tree)
    stop_earlier_session(folder)
    repair(tree, store, verify=verify)
    todo = pending(tree, store)
    for node in todo:
        if store.segment(node.key).done is not None:  # its state or an evaluation is missing: it is finished again
            store.segment(node.key).forget()
    queue = ReadyQueue(tree, [node.key for node in todo])
    total = sum(flops_of(node) for node in tree.nodes.values())
    trained = total - sum(flops_of(node) for node in todo)
    report(trained, total)
    lineage.drop(tree.nodes, store, keep)  # what a kill left behind, or another --keep
    make_job, losses, refusals = _job_maker(study, tree, dataset, folder), _Losses(store), _Refusals()
    running: dict[Future[Outcome], Node] = {}
    stop = threading.Event()
    if world.control is not None:
        world.control.notes.on_stop = stop.set
    with _signals_set(stop), open_workers(executor, folder, threads, stop, world) as workers:
        while running or (queue.left and not stop.is_set()):
            while (
                not (stop.is_set() or refusals.should_wait)
                and len(running) < workers.capacity()
                and (next_one := queue.pop())
            ):
                try:
                    running[workers.submit(make_job(next_one), losses.attempt(next_one))] = next_one
                    refusals.over()
                except WorkersLostError as error:
                    if not running:
                        raise
                    refusals.add(error)
                    queue.put_back(next_one)
            if stop.is_set():
                workers.stop()
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in finished | {future for future in running if future.cancelled()}:
                node = running.pop(future)
                if _finished(future, node, losses, stop):
                    queue.done(node)
                    trained += flops_of(node)
                    lineage.drop([key for key in (node.parent, node.key) if key], store, keep)
                    report(trained, total)
                else:
                    queue.put_back(node)
    if stop.is_set():
        raise Interrupted


def _finished(future: Future[Outcome], node: Node, losses: "_Losses", stop: threading.Event) -> bool:
    """Whether a segment was trained to its end. An error of its training ends the run, a lost worker does not."""
    try:
        outcome = future.result()
    except CancelledError:
        if stop.is_set():
            return False
        raise WorkersLostError("the executor is gone: it cancelled what it was given") from None
    except Exception as error:  # the executor's own: what training raises is in the outcome
        if not stop.is_set():
            losses.add(node, _reason(error))
        return False
    if outcome.error is not None:
        raise outcome.error
    if not outcome.finished and not stop.is_set():
        losses.add(node, "its machine asked it to leave")
    return outcome.finished


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process died: killed, or out of memory"
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


class _Losses:
    """Counts attempts at segments, and the workers lost in a row on each without getting it further."""

    def __init__(self, store: Store) -> None:
        self._store, self._attempts = store, Counter[str]()
        self._lost: dict[str, tuple[int, int]] = {}  # losses, tokens saved at the last of them

    def attempt(self, node: Node) -> int:
        """The number of the attempt that begins."""
        self._attempts[node.key] += 1
        return self._attempts[node.key]

    def add(self, node: Node, reason: str) -> None:
        """A worker was lost: say so, or that it was one too many."""
        folder = self._store.segment(node.key)
        saved, (count, before) = folder.tokens_saved, self._lost.get(node.key, (0, 0))
        count = 1 if saved > before else count + 1
        self._lost[node.key] = (count, saved)
        what = f"segment {folder.folder} ({node.segment.label}, seed {node.seed})"
        if count == MAX_WORKER_FAILURES:
            raise WorkersLostError(f"{count} workers in a row were lost on {what}: {reason}")
        warn(f"the worker of {what} was lost ({reason}); another goes on from {saved:,} tokens")


class _Refusals:
    """Counts how often in a row the executor took no segment, and says when it is asked again."""

    def __init__(self) -> None:
        self._count, self._wait_until = 0, 0.0

    @property
    def should_wait(self) -> bool:
        """Whether the last refusal was a moment ago."""
        return self._count > 0 and time.monotonic() < self._wait_until

    def add(self, error: WorkersLostError) -> None:
        """It refused: say so the first time; a WorkersLostError where it was one too many."""
        self._count += 1
        self._wait_until = time.monotonic() + _REFUSED_SECONDS
        if self._count == MAX_REFUSALS:
            raise error
        if self._count == 1:
            warn(f"{error}; asking again every {_REFUSED_SECONDS:.0f} s while others are trained")

    def over(self) -> None:
        """It took one."""
        self._count = 0


def _job_maker(study: Study, tree: Tree, dataset: Dataset, folder: Path) -> Callable[[Node], Job]:
    """Makes the job of a segment; its paths mean the same in any process on any machine."""
    tasks = tuple(replace(file, path=file.path.resolve()) for file in study.evaluation.tasks)
    evaluation = replace(study.evaluation, tasks=tasks)
    dataset = replace(
        dataset,
        folder=dataset.folder.resolve(),
        train=tuple(path.resolve() for path in dataset.train),
        validation=tuple(path.resolve() for path in dataset.validation),
    )

    def make(node: Node) -> Job:
        return Job(
            node=node,
            folder=folder.resolve(),
            model=study.model,
            settings=study.settings,
            evaluation=evaluation,
            dataset=dataset,
            window=study.context,
        )

    return make


@contextmanager
def _signals_set(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set the flag; a second one leaves at once, without harm to what is kept."""
    heard = False

    def handle(number: int, frame: object) -> None:
        nonlocal heard
        if heard:  # the flag alone may come from a signal that another process of the run heard
            os._exit(130)
        heard = True
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

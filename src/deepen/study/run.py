"""Run a tree: segments whose parents are done, on as many processes as asked for, until all is there."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from deepen.data.shards import Dataset
from deepen.study.arms import Study
from deepen.study.retention import Lineage
from deepen.study.segment_folder import SegmentFolder
from deepen.study.store import Store
from deepen.study.tree import Node, Tree
from deepen.study.upkeep import look_over
from deepen.study.worker import Job, die_with_parent, train_segment

Report = Callable[[int, int], None]
"""Called with the FLOPs trained so far and the FLOPs there are in all."""


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
    jobs: int,
    threads: int,
    keep: str = "last",
    verify: bool = False,
) -> None:
    """Train what is pending; segments with the most work behind them first.

    Args:
        report: told of the progress.
        jobs: segments trained at once, each in a process of its own; 1 trains here.
        threads: CPU threads of each. Sums are taken in another order with other threads, so a study keeps
            its number for all its life.
        keep: which states stay (`study.keep.KEEPS`).
        verify: hash every byte of every state first, rather than sizes and headers.

    Raises:
        Interrupted: SIGINT or SIGTERM came; every segment stopped after a step and kept its state.
    """
    store, lineage = Store(folder), Lineage.of(tree)
    look_over(tree, store, verify=verify)
    todo = pending(tree, store)
    missing = {node.key for node in todo}
    for node in todo:
        if store.segment(node.key).done is not None:  # its state or an evaluation is missing: it is finished again
            store.segment(node.key).forget()
    urgency = _work_behind(tree)
    flops = {key: (n.segment.end - n.segment.start) * n.segment.flops_per_token for key, n in tree.nodes.items()}
    total, trained = sum(flops.values()), sum(flops[key] for key in tree.nodes if key not in missing)
    report(trained, total)
    lineage.drop(tree.nodes, store, keep)  # what a kill left behind, or another --keep
    running: dict[Future[bool], Node] = {}
    with _executor(jobs, threads) as (executor, stop, call):
        while (missing or running) and not (stop.is_set() and not running):
            if not stop.is_set():
                busy = {node.key for node in running.values()}
                ready = [tree.nodes[key] for key in missing - busy if tree.nodes[key].parent not in missing]
                ready.sort(key=lambda node: (-urgency[node.key], node.key))
                for node in ready[: jobs - len(running)]:
                    running[executor.submit(call, _job(study, tree, dataset, folder, node))] = node
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in finished:
                node = running.pop(future)
                if _finished(future, stop):
                    missing.discard(node.key)
                    trained += flops[node.key]
                    lineage.drop([key for key in (node.parent, node.key) if key], store, keep)
                    report(trained, total)
        if stop.is_set():
            raise Interrupted


def _job(study: Study, tree: Tree, dataset: Dataset, folder: Path, node: Node) -> Job:
    return Job(
        node=node,
        is_mark=node.key in tree.mark_keys,
        folder=folder,
        model=study.model,
        settings=study.settings,
        evaluation=study.evaluation,
        dataset=dataset,
        window=study.context,
    )


def _finished(future: Future[bool], stop: threading.Event) -> bool:
    """Whether a segment was trained to its end; a worker that died of the signal to stop was not."""
    try:
        return future.result()
    except BrokenProcessPool:
        if stop.is_set():
            return False
        raise


def _work_behind(tree: Tree) -> dict[str, int]:
    """FLOPs on the longest way from each segment, itself included, to the end of a path."""
    longest: dict[str, int] = {}
    children = tree.children()
    for node in reversed(tree.nodes.values()):
        own = (node.segment.end - node.segment.start) * node.segment.flops_per_token
        longest[node.key] = own + max((longest[child] for child in children.get(node.key, ())), default=0)
    return longest


@contextmanager
def _executor(jobs: int, threads: int) -> Iterator[tuple[Executor, threading.Event, Callable[[Job], bool]]]:
    """An executor, the flag that stops its work after the step at hand, and the function to submit."""
    stop = threading.Event()
    executor: Executor = _Here()
    call: Callable[[Job], bool] = partial(_train, stop)
    if jobs == 1:
        torch.set_num_threads(threads)
    else:
        context = multiprocessing.get_context("spawn")
        stop_workers = context.Event()
        executor = _Workers(jobs, context, initializer=_begin_worker, initargs=(threads, stop_workers))
        call = _call_in_worker
        # A signal handler must not set the workers' flag: its lock may be held by what the signal interrupted.
        threading.Thread(target=_pass_on, args=(stop, stop_workers), daemon=True).start()
    with _signals_set(stop), executor:
        try:
            yield executor, stop, call
        except BaseException:
            stop.set()
            raise


def _pass_on(stop: threading.Event, stop_workers: Event) -> None:
    stop.wait()
    stop_workers.set()


def _train(stop: threading.Event, job: Job) -> bool:
    return train_segment(job, stop.is_set)


class _Here(Executor):
    """Runs what is submitted at once, in this thread."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run it now."""
        future: Future[bool] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Workers(ProcessPoolExecutor):
    """Processes, each started with signals held back: it inherits that until it ignores them."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Start a worker where one is wanted, and give it the work."""
        with _signals_held():
            return super().submit(fn, *args, **kwargs)


# A process can only inherit a flag, not be sent one, so a worker keeps it here.
_stop_worker: Event | None = None


def _begin_worker(threads: int, stop: Event) -> None:
    """A worker leaves signals to the process that started it, and does not outlive it."""
    global _stop_worker
    _stop_worker = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(threads)
    die_with_parent()


def _call_in_worker(job: Job) -> bool:
    assert _stop_worker is not None
    return train_segment(job, _stop_worker.is_set)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back for a moment."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def _signals_set(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set the flag; a second one leaves at once, without harm to what is kept."""

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(130)
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

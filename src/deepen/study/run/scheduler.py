"""Train the pending segments of a tree on all available workers, each after its parent is done.

The loop of the scheduler, until nothing is pending or a signal asks to stop:

    submit while workers are free        `ReadyQueue` decides which segment is next
    wait until a segment ends            finished: its children can start, and states no longer needed are pruned
                                         lost worker: submitted again, from its newest state (see `retries`)
                                         error of training: the run ends

When a segment ends at a check of a plateau, the tree may change. The scheduler continues with a new `WorkPlan`;
segments in training stay so.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass

from deepen.study.compile.tree import Node, Tree
from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.errors import Interrupted, WorkersLostError, explain_segment_error
from deepen.study.run.executors.interface import SegmentExecutor, Setting
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import stop_earlier_session
from deepen.study.run.progress import OnProgress, Preparation, ignore_progress
from deepen.study.run.ready_queue import ReadyQueue
from deepen.study.run.retries import Attempts, Refusals
from deepen.study.run.signals import stop_on_signals
from deepen.study.run.tracking import Tracking
from deepen.study.run.watcher import Watcher
from deepen.study.store.lineage import Lineage
from deepen.study.store.maintenance import repair
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.segment_folder import SegmentFolder
from deepen.study.store.study_folder import Store
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.errors import TrainingError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkPlan:
    """What is to be trained: a tree, and the job of each segment, by key."""

    tree: Tree
    jobs: Mapping[str, Job]


def train_tree(
    plan: WorkPlan,
    store: Store,
    executor: ExecutorChoice,
    *,
    replan: Callable[[], WorkPlan | None] = lambda: None,
    threads: int,
    policy: RetentionPolicy,
    verify: bool = False,
    world: World = ONE_PROCESS,
    on_progress: OnProgress = ignore_progress,
    track: Sequence[str] = (),
) -> None:
    """Train the pending segments of a tree.

    Args:
        plan: the tree of a study, with its jobs.
        store: the study's folder.
        executor: where segments are trained, and how many in parallel.
        replan: returns the plan that follows from what is trained by now, or None if that stays as it is; called
            at the start, and when a segment ends after which a decision may be taken.
        threads: CPU threads per segment. Another number rounds sums differently, so it is fixed for a study.
        policy: which states stay although they are not needed.
        verify: hash every byte of every state first, instead of checking sizes and headers.
        world: the processes that train each segment together; with several, segments are trained one at a time.
        on_progress: called about once a second, from another thread; it must not raise.
        track: names of trackers that show the runs.

    Raises:
        Interrupted: a signal asked to stop; every segment finished its step and saved.
        WorkersLostError: too many workers were lost, or the executor accepts no more segments.
    """
    on_progress(Preparation("checking the states on disk"))
    stop_earlier_session(store.folder)
    plan = _repair(plan, store, replan, verify=verify)
    tree = plan.tree
    pending = _open_pending(tree, store)
    stop = threading.Event()
    setting = Setting(folder=store.folder, threads=threads, stop=stop, world=world)
    with (
        stop_on_signals(stop) as request_stop,
        Tracking(tree, store, track) as tracking,
        Watcher(tree, store, pending, on_progress) as watcher,
        get_kind(executor).open(executor, setting) as workers,
    ):
        if world.control is not None:
            world.control.notes.on_stop = request_stop
        _Scheduler(plan, store, pending, policy, watcher, tracking, replan).run(workers, stop)
    if stop.is_set():
        raise Interrupted


def _repair(plan: WorkPlan, store: Store, replan: Callable[[], WorkPlan | None], *, verify: bool) -> WorkPlan:
    """Repair the segments of a plan, and those of the plans that follow from what they have trained."""
    repair(plan.tree.nodes.values(), store, verify=verify)
    seen = set(plan.tree.nodes)
    while plan.tree.checks and (newer := replan()) is not None:
        plan = newer
        repair([node for key, node in plan.tree.nodes.items() if key not in seen], store, verify=verify)
        seen |= plan.tree.nodes.keys()
    return plan


def find_pending(tree: Tree, store: Store) -> list[Node]:
    """The segments to train, parents first.

    A finished segment is pending again if its state was pruned and a pending child needs it, or if a mark was
    added at its end afterwards and an evaluation is missing there. For an evaluation alone, its own state is
    enough, and the one before it is not needed. Segments that wait for trials, and of trials that
    diverged, are not pending.
    """
    children, pending, trained = tree.children(), set[str](), set[str]()
    left_out, marks, trial_ends = tree.waiting | tree.given_up, tree.mark_keys, tree.trial_ends
    for node in reversed(tree.nodes.values()):
        if node.key in left_out:
            continue
        folder = store.segment(node.key)
        is_mark, is_end = node.key in marks, node.key in marks or node.key in trial_ends
        needs_state = is_mark or any(child in trained for child in children.get(node.key, ()))
        if (
            folder.done is None
            or (needs_state and not folder.has_state)
            or (is_end and not _is_evaluated_at_end(node, folder))
        ):
            pending.add(node.key)
            if folder.tokens_saved < node.segment.end or folder.log_problems():
                trained.add(node.key)
    return [node for node in tree.nodes.values() if node.key in pending]


def _open_pending(tree: Tree, store: Store) -> list[Node]:
    """The segments to train; those that are finished and must be trained again lose their done.json."""
    pending, again, marks = find_pending(tree, store), 0, 0
    for node in pending:
        folder = store.segment(node.key)
        if folder.done is not None:
            again += 0 if folder.has_state else node.segment.tokens
            marks += node.key in tree.mark_keys and folder.has_state
            folder.reopen()
    if marks:
        _log.info(
            "%s evaluated again, without training: validation text or tasks are missing there",
            "1 mark is" if marks == 1 else f"{marks} marks are",
        )
    if again:
        _log.warning(
            "%s tokens are trained again: the states after them were pruned, and are needed now", f"{again:,}"
        )
    return pending


def _is_evaluated_at_end(node: Node, folder: SegmentFolder) -> bool:
    """Whether the log has every evaluation that is due at a segment's end."""
    end = node.segment.end
    due = {task for point in node.evaluations if point.tokens == end for task in point.tasks}
    return due <= {line.get("task") for line in folder.lines("evals") if line["tokens"] == end}


class _Scheduler:
    """Keeps the workers busy."""

    def __init__(
        self,
        plan: WorkPlan,
        store: Store,
        pending: list[Node],
        policy: RetentionPolicy,
        watcher: Watcher,
        tracking: Tracking,
        replan: Callable[[], WorkPlan | None],
    ) -> None:
        self._plan, self._store, self._policy, self._find_plan = plan, store, policy, replan
        self._watcher, self._tracking = watcher, tracking
        self._lineage = Lineage.from_tree(plan.tree)
        self._queue = ReadyQueue(plan.tree, [node.key for node in pending])
        self._attempts, self._refusals = Attempts(store), Refusals()
        self._running: dict[Future[Outcome], Node] = {}
        self._has_given_up = False
        self._lineage.prune(plan.tree.nodes, store, policy)  # after a kill, or with a new policy

    def run(self, workers: SegmentExecutor, stop: threading.Event) -> None:
        """Train until nothing is pending, or until `stop` is set and every running segment has saved."""
        while self._running or (self._queue.unfinished and not stop.is_set()):
            if not stop.is_set():
                self._submit_ready(workers, stop)
            if stop.is_set():
                workers.stop()
            for future in self._wait(stop) | {future for future in self._running if future.cancelled()}:
                node = self._running.pop(future)
                finished = self._is_finished(future, node, stop)
                self._watcher.end(node, finished=finished)
                if finished:
                    self._finish(node)
                else:
                    self._queue.put_back(node)
                    self._replan_after_divergence()

    def _wait(self, stop: threading.Event) -> set["Future[Outcome]"]:
        """Wait a moment for segments to end; returns those that did."""
        if not self._running:  # the executor has no room yet; `wait` would return at once
            stop.wait(0.2)
        return wait(self._running, timeout=0.2, return_when=FIRST_COMPLETED).done

    def _submit_ready(self, workers: SegmentExecutor, stop: threading.Event) -> None:
        """Submit segments while workers are free."""
        while not stop.is_set() and not self._refusals.should_wait and len(self._running) < workers.capacity():
            node = self._queue.pop()
            if node is None:
                return
            self._watcher.begin(node)
            try:
                future = workers.submit(self._plan.jobs[node.key], self._attempts.begin(node))
            except WorkersLostError as refusal:
                self._watcher.end(node, finished=False)
                if not self._running:
                    raise
                self._refusals.add(refusal)
                self._queue.put_back(node)
            else:
                self._running[future] = node
                self._refusals.reset()

    def _is_finished(self, future: "Future[Outcome]", node: Node, stop: threading.Event) -> bool:
        """Whether a segment was trained to its end; raises an error of training, but not a lost worker."""
        try:
            outcome = future.result()
        except CancelledError:
            if stop.is_set():
                return False
            raise WorkersLostError("the executor is gone: it cancelled its segments") from None
        except Exception as error:  # from the executor; an error of training is in the outcome
            if not stop.is_set():
                self._attempts.lose_worker(node, _describe_loss(error))
            return False
        if outcome.error is not None:
            if isinstance(outcome.error, TrainingError) and self._give_up_trials(node, outcome.error):
                return False
            raise explain_segment_error(outcome.error, f"{node.segment.label}, seed {node.seed}")
        if not outcome.finished and not stop.is_set():
            self._attempts.lose_worker(node, "its machine asked it to stop")
        return outcome.finished

    def _give_up_trials(self, node: Node, error: TrainingError) -> bool:
        """Give up the trials that lead through a segment, if no other run does; whether it was so."""
        tree = self._plan.tree
        if not tree.tuning.is_open and any(node.key in route.keys for route in tree.routes):
            return False
        lost = [(trial, route) for trial, route in tree.tuning.runs if node.key in route.keys]
        for name, seed in dict.fromkeys((trial.name, route.seed) for trial, route in lost):
            _log.warning("%s, seed %d, is given up: %s", name, seed, error.problem)
        for _, route in lost:
            self._store.segment(route.keys[-1]).record_divergence(error.problem)
        self._has_given_up = True
        return True

    def _replan_after_divergence(self) -> None:
        if self._has_given_up and (plan := self._find_plan()) is not None:
            self._replan(plan)
            self._lineage.prune(plan.tree.given_up, self._store, self._policy)
            parents = {plan.tree.nodes[key].parent for key in plan.tree.given_up}
            self._lineage.prune([key for key in parents if key], self._store, self._policy)
        self._has_given_up = False

    def _finish(self, node: Node) -> None:
        self._queue.finish(node)
        if node.key in self._plan.tree.checks and (plan := self._find_plan()) is not None:
            self._replan(plan)
        self._lineage.prune([key for key in (node.parent, node.key) if key], self._store, self._policy)

    def _replan(self, plan: WorkPlan) -> None:
        """Continue with another plan; segments in training stay so."""
        pending = _open_pending(plan.tree, self._store)
        self._plan, self._lineage = plan, Lineage.from_tree(plan.tree)
        self._queue.replan(plan.tree, [node.key for node in pending])
        self._watcher.replan(plan.tree, pending)
        self._tracking.replan(plan.tree)


def _describe_loss(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process died: killed, or out of memory"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

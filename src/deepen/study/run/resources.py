"""Whether the segments of a study fit this machine: its memory, and the disk that keeps their states.

A segment takes the peak memory of its step, and a copy of its state while that is saved, twice, because older
versions of safetensors copy what they write; its process takes some too. Of a sharded model each process copies
its share of the state. All segments in training share the memory of the machine or the container; the limits of a
shell (`ulimit -v`) hold for each process.
"""

import multiprocessing
import resource
import shutil

import torch

from deepen.compute.memory import phase_memory
from deepen.data.sources import EMBEDDED
from deepen.durable import nearest_existing
from deepen.errors import InvalidValueError
from deepen.schedule.trainable import TrainedParts
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.signals import signals_blocked
from deepen.study.store.lineage import Lineage
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.study_folder import Store
from deepen.train.compiling import choose_mode
from deepen.train.device import pick_device
from deepen.train.distributed.processes import World
from deepen.train.fit import describe_phase, memory_settings
from deepen.train.limits import (
    Limit,
    describe_memory,
    memory_limit,
    own_memory_bytes,
    process_limit,
    process_memory_limit,
)
from deepen.train.segment import Segment

GB = 1e9

PROCESSES_PER_JOB = 8
"""Processes and threads of a worker: itself, its queues, its saver, its watch on the command, torch's."""

PREPARATION_BYTES = 700_000_000
"""What the preparation of the embedded corpus takes, of which training does not need anything later."""


def choose_jobs(study: Study, executor: ExecutorChoice, world: World) -> tuple[int | None, str]:
    """The number of segments to train at once: the one asked for, else as many as there is room for.

    Returns:
        The number, and why it is smaller than usual, such as "not 4: each takes about 9.0 GB, and ..."; empty if
        it is not.

    Raises:
        InvalidValueError: several are asked for, and no worker process can be started; or the processes of `world`
            train each segment together, and the executor trains several, or elsewhere.
    """
    kind = get_kind(executor)
    if world.size > 1:
        _check_trains_in_this_process(executor, world)
        return 1, ""
    jobs = executor.jobs or kind.default_jobs()
    if not kind.trains_here or jobs is None or jobs == 1:
        return jobs, ""
    problem = _find_worker_problem()
    if executor.jobs:
        if problem:
            raise InvalidValueError(f"is {jobs}, but {problem}", field="jobs", value=jobs, remedy="use `jobs` 1")
        return jobs, ""
    limits = [(1, problem)] if problem else []
    if (memory := memory_limit()) is not None:
        needed = memory_per_job(study, world)
        fitting = int((memory.amount - own_memory_bytes()) // needed)
        limits.append((fitting, f"each takes about {needed / GB:,.1f} GB, and {describe_memory(memory)}"))
    if (processes := process_limit()) is not None:
        fitting = int(processes.amount // PROCESSES_PER_JOB)
        reason = f"{processes.amount:.0f} more processes and threads may start ({processes.source})"
        limits.append((fitting, reason))
    fitting, reason = min(limits, default=(jobs, ""))
    return (max(1, fitting), f"not {jobs}: {reason}") if fitting < jobs else (jobs, "")


def _check_trains_in_this_process(executor: ExecutorChoice, world: World) -> None:
    """Raise an InvalidValueError unless segments are trained one at a time in this process, which leads others."""
    jobs = executor.jobs or 1
    if get_kind(executor).trains_here and jobs == 1:
        return
    what = executor.kind if jobs == 1 else f"{executor.kind} with {jobs} jobs"
    raise InvalidValueError(
        f"is {what}, but {world.size} processes train one segment at a time, led by this one",
        field="executor",
        value=executor,
        remedy="use local:1, or leave it out",
    )


def check_room(
    study: Study, store: Store, executor: ExecutorChoice, world: World, policy: RetentionPolicy
) -> None:
    """Raise an InvalidValueError if the segments do not fit into memory, or their states on the disk."""
    if get_kind(executor).trains_here:
        _check_memory(study, store, executor, world)
    recorded = store.recorded("data_fingerprint")
    _check_disk(compile_study(study, str(recorded or "")), store, executor, policy, world)


def memory_per_job(study: Study, world: World) -> int:
    """Bytes that each segment in training takes of this machine's memory, with the processes that train it."""
    states, step = _largest_bytes(study, world)
    return world.local_shards * states + world.local_size * (own_memory_bytes() + step)


def _largest_bytes(study: Study, world: World) -> tuple[int, int]:
    """Bytes that the copies of a state, or of a share of it, take in a process, and a step of each on a CPU."""
    segments = {
        (node.segment.depth, node.segment.trains, node.segment.batch_tokens, node.segment.context): node.segment
        for node in compile_study(study, "").nodes.values()
    }.values()
    states = max(2 * state_bytes(study, segment.depth) for segment in segments) // world.shards
    if pick_device().type != "cpu":
        return states, 0
    return states, max(step_bytes(study, segment, world) for segment in segments)


def step_bytes(study: Study, segment: Segment, world: World) -> int:
    """Bytes of the largest moment of a segment's training step, in one process on a CPU.

    Compiled blocks keep less than the formula says, so only weights, gradients and moments count then.
    """
    settings = study.settings
    needed_by = memory_settings(settings, world.division)
    memory = phase_memory(study.model, describe_phase(segment), segment.trains, needed_by)
    is_compiled = choose_mode(settings.compile, torch.device("cpu")) != "no"
    return memory.weights + memory.gradients + memory.moments if is_compiled else memory.peak


def state_bytes(study: Study, depth: int) -> int:
    """Bytes of a training state with `depth` blocks, in memory and on disk: fp32 weights and moments."""
    return _weight_bytes(study, depth) + _moment_bytes(study, depth)


def _weight_bytes(study: Study, depth: int) -> int:
    return 4 * study.model.parameters_at(depth)


def _moment_bytes(study: Study, depth: int) -> int:
    return study.ledger.optimizer_state_bytes(TrainedParts.all(depth))


def _check_memory(study: Study, store: Store, executor: ExecutorChoice, world: World) -> None:
    states, step = _largest_bytes(study, world)
    needed, jobs, own = memory_per_job(study, world), executor.jobs or 1, own_memory_bytes()
    shared = memory_limit()
    if shared is not None and needed > shared.amount:
        raise _too_large(study, needed, shared)
    if shared is not None and jobs > 1 and own + jobs * needed > shared.amount:
        raise InvalidValueError(
            f"is {jobs}, and each segment takes about {needed / GB:,.1f} GB; {describe_memory(shared)}",
            field="jobs",
            value=jobs,
            remedy=f"use `jobs` {max(1, int((shared.amount - own) // needed))}",
        )
    left = process_memory_limit()
    if left is not None and states + step > left.amount:
        raise _too_large(study, states + step, left)
    prepares = study.data == EMBEDDED and not (store.folder / "data").exists()
    if left is not None and prepares and left.amount < PREPARATION_BYTES:
        raise InvalidValueError(
            f"{EMBEDDED} takes about {PREPARATION_BYTES / GB:,.1f} GB to prepare; {describe_memory(left)}",
            field="data",
            value=EMBEDDED,
            remedy="allow more, or name a folder of shards",
        )


def _too_large(study: Study, needed: int, limit: Limit) -> InvalidValueError:
    return InvalidValueError(
        f"{study.model.name} takes about {needed / GB:,.1f} GB in training; {describe_memory(limit)}",
        field="model",
        value=study.model.name,
        remedy="allow more, or use a smaller `model`, `batch_tokens` or `context`; a plan computes its costs "
        "anywhere",
    )


def _find_worker_problem() -> str:
    """Why no worker process can be started; empty if they can be."""
    try:
        with (
            signals_blocked()
        ):  # inherited by Python's helper process, which must outlive signals to all processes
            multiprocessing.get_context("spawn").Lock()
    except OSError as error:  # without /dev/shm, or with one that cannot be written to
        return f"worker processes need semaphores, and there are none here ({error.strerror})"
    return ""


def _check_disk(tree: Tree, store: Store, executor: ExecutorChoice, policy: RetentionPolicy, world: World) -> None:
    """Raise an InvalidValueError unless there is room for the states that will stay, and those being written."""
    lineage, study = Lineage.from_tree(tree), tree.study
    sizes = {key: state_bytes(study, node.segment.depth) for key, node in tree.nodes.items()}
    kept = [key for key in sizes if lineage.keeps(key, policy)]
    largest, missing = max(sizes.values()), [key for key in kept if not store.segment(key).has_state]
    needed = sum(sizes[key] for key in missing) + (executor.jobs or 1) * largest
    free = shutil.disk_usage(nearest_existing(store.folder)).free
    if missing and needed > free:
        raise InvalidValueError(
            f"{store.folder} gets {needed / GB:,.2g} GB of states, and its disk has {free / GB:,.2g} GB free",
            field="folder",
            value=store.folder,
            remedy="free some, or name another `folder`",
        )
    file_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    depth = max(node.segment.depth for node in tree.nodes.values())
    if world.shards == 1:
        largest_file = max(_weight_bytes(study, depth), _moment_bytes(study, depth))  # a file each
    else:
        largest_file = state_bytes(study, depth) // world.shards
    if file_limit != resource.RLIM_INFINITY and largest_file > file_limit:
        raise InvalidValueError(
            f"{store.folder} gets files of {largest_file / GB:,.2g} GB, and {file_limit / GB:,.2g} GB are allowed",
            field="folder",
            value=store.folder,
            remedy="allow larger files (ulimit -f)",
        )

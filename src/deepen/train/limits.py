"""What this process may use of the machine: cores, memory, processes. Needs no torch.

The limits are those of the container, the scheduler and the shell, not those of the host: bound cores, control
groups, SLURM's and Grid Engine's variables, `ulimit`. A fraction of a core counts as one core.

`root` is the root of the file system, and `environment` has the variables; tests pass others.
"""

import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepen.errors import RunError
from deepen.train.control_groups import ROOT, group_folders, read_numbers

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _ShellLimit:
    """A limit of a process's memory: how it is set, what of /proc it applies to, what torch alone needs of it."""

    kind: int
    source: str
    status: str
    torch_bytes: int


_SHELL_LIMITS = (
    _ShellLimit(resource.RLIMIT_AS, "ulimit -v", "VmSize", 640 * MIB),
    _ShellLimit(resource.RLIMIT_DATA, "ulimit -d", "VmData", 192 * MIB),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount that may be used, and what limits it, such as "SLURM_CPUS_PER_TASK"."""

    amount: float
    source: str


def usable_cores(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """Cores that this process may keep busy; at least 1."""
    return max(1, int(core_limit(root, environment).amount))


def core_limit(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Limit:
    """The smallest limit of this process's cores; it may be a fraction of a core."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [Limit(1 if bound is None else bound, "the cores that this process is bound to")]
    limits += [Limit(quota, "the container's CPU quota") for quota in _cpu_quotas(root)]
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS"):
        limits += [Limit(cores, name) for cores in _read_variable(environment, name)]
    return min(limits, key=lambda limit: limit.amount)


def describe_cores(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """The usable cores and what limits them, as a clause: "2.5 cores are usable (the container's CPU quota)"."""
    limit = core_limit(root, environment)
    return f"{limit.amount:g} core{' is' if limit.amount == 1 else 's are'} usable ({limit.source})"


def fair_threads(processes: int, root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """CPU threads of each of several processes: an equal share of the cores, at most OMP_NUM_THREADS."""
    share = max(1, usable_cores(root, environment) // processes)
    return min([share, *_read_variable(environment, "OMP_NUM_THREADS")])


def usable_memory_bytes(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """Memory that all processes of a run may use together; 0 if unknown."""
    limit = memory_limit(root, environment)
    return 0 if limit is None else int(limit.amount)


def memory_limit(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Limit | None:
    """The smallest limit of the memory of all processes of a run together; None if unknown."""
    limits = []
    with suppress(ValueError, OSError, AttributeError):  # not on every system
        limits.append(Limit(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine's memory"))
    for folder in group_folders(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [Limit(size, "the container's memory limit") for size in read_numbers(folder / name)]
    for size in _read_variable(environment, "SLURM_MEM_PER_NODE"):
        limits.append(Limit(size * MIB, "SLURM_MEM_PER_NODE"))
    for size in _read_variable(environment, "SLURM_MEM_PER_CPU"):
        for cores in _read_variable(environment, "SLURM_CPUS_ON_NODE"):
            limits.append(Limit(size * cores * MIB, "SLURM_MEM_PER_CPU"))
    return min(limits, key=lambda limit: limit.amount, default=None)


def describe_memory(limit: Limit) -> str:
    """A limit of memory as a clause: "8.0 GB can be used (the container's memory limit)"."""
    return f"{limit.amount / 1e9:,.1f} GB can be used ({limit.source})"


def own_memory_bytes() -> int:
    """Memory of this process that it shares with no other."""
    return read_status("RssAnon") or 200 * MIB  # what torch takes, where the system does not report it


def process_limit(root: Path = ROOT) -> Limit | None:
    """How many more processes and threads may be started; None without a limit."""
    limits = []
    for folder in group_folders(root):
        match read_numbers(folder / "pids.max"), read_numbers(folder / "pids.current"):
            case [allowed], [running]:
                limits.append(Limit(max(0, allowed - running), "the container's limit"))
    shell = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if shell != resource.RLIM_INFINITY and os.getuid() != 0:
        limits.append(Limit(max(0, shell - _count_own_threads(root)), "ulimit -u"))
    return min(limits, key=lambda limit: limit.amount, default=None)


def _count_own_threads(root: Path) -> int:
    """Threads of all processes of this user."""
    count = 0
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError):
            count += len(list((process / "task").iterdir())) if process.stat().st_uid == os.getuid() else 0
    return count


def process_memory_limit() -> Limit | None:
    """Memory that this process may still allocate under the shell's `ulimit`; None without such a limit."""
    limits = [
        Limit(max(0, limit - read_status(each.status)), each.source)
        for each in _SHELL_LIMITS
        if (limit := resource.getrlimit(each.kind)[0]) != resource.RLIM_INFINITY
    ]
    return min(limits, key=lambda limit: limit.amount, default=None)


def check_room_for_torch() -> None:
    """Raise a RunError if this process may not allocate what torch alone does, which would abort it.

    Call it before torch is imported.
    """
    for each in _SHELL_LIMITS:
        limit = resource.getrlimit(each.kind)[0]
        if limit != resource.RLIM_INFINITY and limit < each.torch_bytes:
            raise RunError(
                f"{limit / 1e9:.2g} GB of memory are allowed ({each.source}), and torch alone takes about "
                f"{each.torch_bytes / 1e9:.2g} GB",
                remedy="allow more",
            )


def read_status(key: str) -> int:
    """A number of bytes that the system reports of this process, such as "VmRSS"; 0 if it does not."""
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        return int(status.split(f"{key}:")[1].split()[0]) * 1024
    return 0


def _cpu_quotas(root: Path) -> Iterator[float]:
    """CPU quotas of both versions, in cores: quota and period are in µs; a quota of `max` or -1 is no limit."""
    for folder in group_folders(root):
        match read_numbers(folder / "cpu.max"):
            case [quota, period] if quota > 0 and period > 0:
                yield quota / period
        match read_numbers(folder / "cpu.cfs_quota_us"), read_numbers(folder / "cpu.cfs_period_us"):
            case [quota], [period] if quota > 0 and period > 0:
                yield quota / period


def _read_variable(environment: Mapping[str, str], name: str) -> list[int]:
    """The value of a variable in a list, if it is a whole number above 0; OMP_NUM_THREADS can be `4,2`."""
    text = environment.get(name, "").split(",")[0]
    return [int(text)] if text.isdecimal() and int(text) > 0 else []

"""The cores and memory that this process may use: its container's, not the host's. Needs no torch.

Linux limits a container by control groups. Version 2 has files such as `/sys/fs/cgroup/<group>/cpu.max`, version 1
has `/sys/fs/cgroup/cpu/<group>/cpu.cfs_quota_us`; a group's limit applies to all groups inside it. The process's
group is in `/proc/self/cgroup`; a container may see only part of that path, so every level that exists counts:

    0::/jobs/17  →  cpu.max of /sys/fs/cgroup/jobs/17, /sys/fs/cgroup/jobs and /sys/fs/cgroup

`root` is the root of the file system; tests pass another.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may keep busy: the cores it is bound to, within the CPU quota; at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    return max(1, int(min([1 if bound is None else bound, *quotas])))


def usable_memory_bytes(root: Path = ROOT) -> int:
    """Memory that this process may use: the machine's, within the limit of the container; 0 if unknown."""
    limits = []
    with suppress(ValueError, OSError, AttributeError):  # not on every system
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder in _groups(root, controller=""):
        limits += _numbers(folder / "memory.max")[:1]
    for folder in _groups(root, controller="memory"):
        limits += _numbers(folder / "memory.limit_in_bytes")[:1]
    return min(limits, default=0)


def fair_threads(processes: int, root: Path = ROOT) -> int:
    """CPU threads of each of several processes: an equal share of the cores, at most OMP_NUM_THREADS."""
    share = max(1, usable_cores(root) // processes)
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # a list is for nested regions
    return min(share, int(requested)) if requested.isdecimal() and int(requested) > 0 else share


def _quotas_v2(root: Path) -> Iterator[float]:
    """CPU quotas in cores. The file has quota and period in µs; a quota `max` means no limit."""
    for folder in _groups(root, controller=""):
        match _numbers(folder / "cpu.max"):
            case [quota, period] if period:
                yield quota / period


def _quotas_v1(root: Path) -> Iterator[float]:
    """CPU quotas in cores. A quota of -1 means no limit."""
    for folder in _groups(root, controller="cpu"):
        quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
        if quota and period and quota[0] > 0 and period[0]:
            yield quota[0] / period[0]


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of the groups around it.

    Args:
        root: the root of the file system.
        controller: the controller of version 1, such as `memory`; empty for version 2.
    """
    with suppress(OSError, UnicodeDecodeError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", maxsplit=2)
            if controller in controllers.split(","):
                mount = root / "sys/fs/cgroup" / controller
                folder = mount / group.strip("/")
                yield from (level for level in (folder, *folder.parents) if level.is_relative_to(mount))


def _numbers(path: Path) -> list[int]:
    """The whole numbers in a file; none if it does not exist or holds anything else, such as `max`."""
    with suppress(OSError, ValueError):
        return [int(word) for word in path.read_text().split()]
    return []

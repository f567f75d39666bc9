"""The files of this process's control groups, by which Linux limits a container. Needs no torch.

Version 2 has one hierarchy of groups, version 1 has one for each resource. A group's limit applies to all groups
inside it, so the folders of the groups around it count too:

    /proc/self/cgroup       0::/jobs/17
    /proc/self/mountinfo    cgroup2 is mounted at /sys/fs/cgroup, and shows the groups from / on
    group_folders()         /sys/fs/cgroup/jobs/17, /sys/fs/cgroup/jobs, /sys/fs/cgroup

A container may see only the groups from its own on; then the topmost folder that it sees is its own. Without
/proc, the usual places of the topmost folders are read.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
"""The root of the file system; tests pass another."""


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted hierarchy: its controllers (none in version 2), its topmost visible group, and where that is."""

    controllers: frozenset[str]
    top: str
    folder: Path


def group_folders(root: Path = ROOT) -> Iterator[Path]:
    """The folders of this process's groups and of the groups around them, in all hierarchies."""
    mounts = list(_mounts(root))
    if not mounts:
        standard = root / "sys/fs/cgroup"
        yield from (standard, *(standard / controller for controller in ("cpu", "memory", "pids")))
    for line in _read_lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", maxsplit=2)
        own = frozenset(filter(None, controllers.split(",")))
        for mount in mounts:
            if own <= mount.controllers and bool(own) == bool(mount.controllers):
                yield from _levels(mount, group)


def read_numbers(path: Path) -> list[int]:
    """The numbers in a group's file; none without a file, or if it says `max` (no limit)."""
    with suppress(OSError, ValueError):
        return [int(word) for word in path.read_text().split()]
    return []


def _levels(mount: _Mount, group: str) -> Iterator[Path]:
    """The folder of a group, and those around it up to the topmost one that is visible."""
    inside = (
        PurePosixPath(group).relative_to(mount.top) if PurePosixPath(group).is_relative_to(mount.top) else None
    )
    folder = mount.folder if inside is None else mount.folder / inside
    yield from (level for level in (folder, *folder.parents) if level.is_relative_to(mount.folder))


def _mounts(root: Path) -> Iterator[_Mount]:
    """The mounted hierarchies; a line is `36 25 0:32 /top /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu`."""
    for line in _read_lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        match before.split(), after.split():
            case [_, _, _, top, folder, *_], ["cgroup2", *_]:
                yield _Mount(frozenset(), top, root / folder.lstrip("/"))
            case [_, _, _, top, folder, *_], ["cgroup", _, options, *_]:
                yield _Mount(frozenset(options.split(",")), top, root / folder.lstrip("/"))


def _read_lines(path: Path) -> list[str]:
    """The lines of a file; none if it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().splitlines()
    return []

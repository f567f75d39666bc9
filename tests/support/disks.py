"""Disks that fail, and processes that die, in the middle of one of `durable`'s primitives."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from deepen import durable

PRIMITIVES = ("write", "save_tensors", "fsync", "rename", "remove")

FAULTS = [
    ("write", "short"),
    ("write", "ENOSPC"),
    ("save_tensors", "short"),
    ("save_tensors", "ENOSPC"),
    ("fsync", "EIO"),
    ("rename", "EIO"),
]


def do_half(primitive: str, real: Callable[..., None], path: Path, *rest: Any) -> None:
    """Execute half of a primitive."""
    if primitive == "write":
        real(path, rest[0][: len(rest[0]) // 2], *rest[1:])
    elif primitive == "save_tensors":
        real(path, *rest)
        path.write_bytes(path.read_bytes()[:-3])
    elif primitive == "remove":
        for entry in sorted(path.iterdir())[::2]:
            entry.unlink()


class FailingDisk:
    """Replaces one primitive of `durable` and makes its n-th call fail; 0 only counts the calls."""

    def __init__(self, patch: pytest.MonkeyPatch, primitive: str, fault: str) -> None:
        self.primitive, self.real = primitive, getattr(durable, primitive)
        self.fault, self.calls, self.at = fault, 0, 0
        patch.setattr(durable, primitive, self)

    def fail_at(self, n: int) -> None:
        self.calls, self.at = 0, n

    def __call__(self, path: Path, *rest: Any) -> None:
        self.calls += 1
        if self.calls != self.at:
            self.real(path, *rest)
            return
        do_half(self.primitive, self.real, path, *rest)
        if self.fault != "short":
            raise OSError(getattr(errno, self.fault), self.fault, str(path))


def die_at(n: int) -> None:
    """From now on, kill this process half way through the n-th call of any primitive."""
    calls, lock = 0, Lock()

    def dying(primitive: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Path, *rest: Any) -> None:
            nonlocal calls
            with lock:
                calls += 1
                if calls == n:
                    do_half(primitive, real, path, *rest)
                    os.kill(os.getpid(), signal.SIGKILL)
            real(path, *rest)

        return call

    for primitive in PRIMITIVES:
        setattr(durable, primitive, dying(primitive, getattr(durable, primitive)))

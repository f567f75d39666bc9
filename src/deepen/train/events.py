"""Marks in the queue of a device: a process can wait until the device has reached one."""

from typing import Protocol

import torch


class Event(Protocol):
    """A mark in the queue of a device, such as `torch.cuda.Event`."""

    def record(self) -> None:
        """Put the mark at the end of the queue."""

    def synchronize(self) -> None:
        """Wait until the device has reached the mark, but for nothing queued after it."""


class _NoQueue:
    """The event of a device that has no queue: everything before it is done."""

    def record(self) -> None:
        """Mark nothing."""

    def synchronize(self) -> None:
        """Wait for nothing."""


def make_event(device: torch.device) -> Event:
    """An event of a device, on its current stream."""
    if device.type != "cuda":
        return _NoQueue()
    event: Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    return event

"""A simulated device, whose queue is a list of what was queued; its tensors are a GPU's under FakeTensorMode."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Device(TorchDispatchMode):
    """A device that computes only when it is waited for: what is queued, and how much of that must be done."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[str] = []
        self.done = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu"):
            self.queue.append("copy" if kwargs.get("non_blocking") else "copy, waited for")
        if function is torch.ops.aten._local_scalar_dense.default:
            self.queue.append("copy, waited for")
        return function(*args, **kwargs)

    def event(self, device: torch.device) -> "Event":
        assert device.type == "cuda"
        return Event(self)


class Event:
    """A mark in the queue of a device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def record(self) -> None:
        self.device.queue.append("event")
        self.end = len(self.device.queue)

    def synchronize(self) -> None:
        self.device.done = max(self.device.done, self.end)

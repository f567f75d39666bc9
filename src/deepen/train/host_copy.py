"""Copies of tensors in the CPU's memory, of which a state is made between two steps.

A GPU copies into pageable memory through a small buffer of its driver, at a fraction of its bus's speed, and the
process waits for one tensor after another. So tensors are copied into pinned memory: all of a call are queued, and
one event behind them is waited for. torch keeps that memory for the next state, in blocks rounded up to powers of
two. As no other process can use it, only a part of the machine's memory is pinned; what exceeds it is copied as
usual.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from deepen.train.events import Event, make_event
from deepen.train.limits import usable_memory_bytes

PINNED_SHARE = 1 / 8
"""Share of the memory that a machine has for each GPU, up to which a process pins memory."""


def copy_to_host(
    tensors: Mapping[str, Tensor],
    room_bytes: float | None = None,
    make_event: Callable[[torch.device], Event] = make_event,
) -> dict[str, Tensor]:
    """Copies of tensors in the CPU's memory, complete on return.

    Args:
        tensors: by name, on a GPU or in the CPU's memory.
        room_bytes: how much more memory may be pinned; None asks the system.
        make_event: makes an event of a device.
    """
    on_gpu = {name for name, tensor in tensors.items() if tensor.device.type == "cuda"}
    if room_bytes is None:
        room_bytes = _room_bytes() if on_gpu else 0.0
    devices: set[torch.device] = set()
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        rounded = 2 * tensor.nbytes
        pins = name in on_gpu and rounded <= room_bytes
        if pins:
            room_bytes -= rounded
            devices.add(tensor.device)
        copies[name] = tensor.detach().to("cpu", copy=True, non_blocking=pins)  # pinned if it does not block
    for device in devices:
        copied = make_event(device)
        copied.record()
        copied.synchronize()
    return copies


def _room_bytes() -> float:
    """How much more memory this process may pin."""
    in_use: float = torch.cuda.host_memory_stats().get("active_bytes.current", math.inf)
    return PINNED_SHARE * usable_memory_bytes() / torch.cuda.device_count() - in_use

"""How much memory the GPUs of this machine have free, and whether the processes that share them fit.

Asking a GPU begins a CUDA context in the asking process: about 0.5 GB of each GPU, which stay until it ends, and
keep other processes out where a GPU takes one only. A process that does not train itself asks through a child.
"""

import subprocess
import sys
from collections.abc import Sequence

import torch

from deepen.errors import InvalidValueError

_ASK = "import torch; print(*(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())))"
_ASK_SECONDS = 120


def free_gpu_memory(device: torch.device, processes: int) -> tuple[int, ...]:
    """Free bytes of each GPU that is to be used; empty if unknown.

    Args:
        device: this process's GPU, which is the one that is used if this process trains itself.
        processes: how many processes of this machine will train; with one, it is this one.
    """
    if processes == 1:
        return (torch.cuda.mem_get_info(device)[0],)
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=_ASK_SECONDS
        )
        return tuple(map(int, asked.stdout.split()))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def own_free_bytes(device: torch.device) -> int:
    """The memory of a GPU that this process can still use, with what it has cached; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def check_sharing(needed: int, free: Sequence[int], processes: int) -> None:
    """Raise an InvalidValueError if processes that take turns in choosing a GPU do not fit into its memory.

    Args:
        needed: bytes of each process.
        free: free bytes of each GPU.
        processes: number of processes; process i uses GPU i modulo the number of GPUs.
    """
    fitting = [min(available // max(1, needed), processes) for available in free]
    for gpu, (available, fit) in enumerate(zip(free, fitting, strict=True)):
        sharing = len(range(gpu, processes, len(free)))
        if 1 <= fit < sharing:
            raise InvalidValueError(
                f"is {processes}, so {sharing} segments share GPU {gpu}; each takes {needed / 1e9:,.1f} GB "
                f"besides activations, and {available / 1e9:,.1f} GB are free",
                field="jobs",
                value=processes,
                remedy=f"use `jobs` {len(free) * min(fitting)}",
            )

"""The device a run uses, its precision, and its memory high-water mark."""

import gc
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from deepen.compute.devices import Device
from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.model.config import ModelConfig


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine_name() -> str:
    """Processor, cores and torch, for people."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, IndexError):
        cpu = Path("/proc/cpuinfo").read_text().split("model name")[1].split("\n")[0].strip("\t :")
    return f"{cpu}, {cores()} cores, torch {torch.__version__}"


def measured_cpu(precision: str) -> Device:
    """The CPU this runs on, with its measured peak."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return Device(
        name=machine_name(),
        peak_flops=measured_peak(torch.device("cpu"), precision),
        memory_bytes=memory,
        source=f"measured: {precision} products of square matrices",
    )


def measured_peak(device: torch.device, precision: str) -> float:
    """FLOP/s of the best of a few products of large square matrices in a precision."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    best = math.inf
    for _ in range(10 if device.type == "cuda" else 5):
        wait_for(device)
        began = time.perf_counter()
        left @ right
        wait_for(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_room(
    model: ModelConfig, device: torch.device, shards: int = 1, optimizer: OptimizerCost = ADAMW_COST
) -> None:
    """Refuse a model whose weights, gradients and moments alone have no room: the system would kill something.

    Args:
        shards: GPUs that the model is divided among.
        optimizer: bytes of its state.

    Raises:
        ValueError: the line says how much it takes and how much there is.
    """
    copy = 4 * model.parameters  # fp32, of a state's weights
    live = (8 + optimizer.state_bytes) * model.parameters
    needs = []
    if device.type == "cuda":
        needs.append((live // shards, torch.cuda.mem_get_info(device)[0], "GPU"))
    if hasattr(os, "sysconf"):
        has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        needs.append((copy if needs else copy + live, has, "machine"))
    for needed, has, where in needs:
        if needed > has:
            raise ValueError(
                f"model {model.name} takes {needed / 1e9:,.1f} GB besides activations, this {where} has "
                f"{has / 1e9:,.1f} GB: use a smaller --model or a larger machine; deepen plan prices it anywhere"
            )


def autocast(device: torch.device, precision: str, *, keep_copies: bool = True) -> torch.autocast:
    """bf16 autocast for matrix products; switched off for fp32.

    Args:
        keep_copies: of weights, in bf16, until the end of the forward pass, read again or not.
    """
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=keep_copies
    )


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep Python's garbage collector from stopping steps; what it would find waits until they are over."""
    if not gc.isenabled():
        yield
        return
    gc.freeze()  # what is there by now is not looked at again
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the system can (CUDA, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Peak since the last reset: allocated bytes on a GPU, else the resident set of this process (0: unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{os.getpid()}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return 0

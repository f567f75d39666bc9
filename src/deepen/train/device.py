"""The device of a run: choose it, measure its speed and peak memory, and check that a model fits."""

import gc
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from deepen.compute.devices import Device
from deepen.compute.ledger import Ledger
from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.schedule.trainable import TrainedParts
from deepen.train.gpu_memory import check_sharing, free_gpu_memory
from deepen.train.limits import fair_threads, read_status, usable_cores, usable_memory_bytes


def pick_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine_name() -> str:
    """Processor, usable cores and version of torch, for display."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    processor = platform.processor()
    cpu = processor if processor else platform.machine()
    with suppress(OSError, IndexError):
        cpu = Path("/proc/cpuinfo").read_text().split("model name")[1].split("\n")[0].strip("\t :")
    return f"{cpu}, {usable_cores()} cores, torch {torch.__version__}"


def measure_cpu(precision: str) -> Device:
    """This machine's CPU, with its measured peak and the memory that this process may use."""
    torch.set_num_threads(fair_threads(1))  # torch counts the host's cores, whatever the container's quota
    return Device(
        name=machine_name(),
        peak_flops=measure_peak_flops(torch.device("cpu"), precision),
        memory_bytes=usable_memory_bytes(),
        source=f"measured: {precision} products of square matrices",
    )


def measure_peak_flops(device: torch.device, precision: str) -> float:
    """FLOP/s of the fastest of a few products of large square matrices."""
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
    """Wait until a GPU has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def check_memory(
    model: ModelConfig,
    device: torch.device,
    shards: int = 1,
    optimizer: OptimizerCost = ADAMW_COST,
    processes: int = 1,
    *,
    local_shards: int = 1,
) -> None:
    """Refuse a model whose weights, gradients and optimizer state alone exceed the memory.

    Without this check the system would kill some process in the middle of training.

    Args:
        model: the model at its final depth.
        device: the device that trains it.
        shards: among how many processes the model is divided.
        optimizer: the optimizer's cost; its state counts.
        processes: how many processes of this machine train such a model each, taking turns in choosing a GPU.
        local_shards: how many of the shards this machine holds.

    Raises:
        InvalidValueError: the message gives the memory that is needed and available.
    """
    state = 4 * model.parameters  # the fp32 weights of a `TrainState`, on the CPU
    moments = Ledger(model=model, optimizer=optimizer).optimizer_state_bytes(TrainedParts.all(model.depth))
    live = 8 * model.parameters + moments
    if device.type == "cuda":
        if free := free_gpu_memory(device, processes):
            _check_fits(model, live // shards, min(free), "GPU")
            check_sharing(live // shards, free, processes)
        _check_fits(model, state * local_shards // shards, usable_memory_bytes(), "machine")
    else:
        _check_fits(model, (state + live) * local_shards // shards, usable_memory_bytes(), "machine")


def _check_fits(model: ModelConfig, needed: int, available: int, where: str) -> None:
    if available and needed > available:
        raise InvalidValueError(
            f"{model.name} takes {needed / 1e9:,.1f} GB besides activations, this {where} has "
            f"{available / 1e9:,.1f} GB",
            field="model",
            value=model.name,
            remedy="use a smaller `model` or a larger machine; a plan computes its costs anywhere",
        )


def autocast(device: torch.device, precision: str, *, keep_copies: bool = True) -> torch.autocast:
    """bf16 autocast for matrix products; switched off for fp32.

    Args:
        device: the device of the products.
        precision: "bf16" or "fp32".
        keep_copies: whether bf16 copies of weights are kept for reuse until the forward pass ends.
    """
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=keep_copies
    )


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which would interrupt training steps."""
    if not gc.isenabled():
        yield
        return
    gc.freeze()  # later collections skip the objects that exist now
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def release_memory(device: torch.device) -> None:
    """Return the memory of models that are no longer used to the GPU, for other processes that share it.

    Compiled blocks, DDP and FSDP2 make reference cycles, which only the garbage collector frees.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak memory, on systems that report one (CUDA, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """Peak since the last reset: allocated bytes on a GPU, else this process's resident set; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return read_status("VmHWM")

"""Errors of many libraries that mean the same: memory or threads have run out."""

import errno
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from deepen.resource_errors import explain_resource_error

GB = 10**9


def run_with_memory(limit: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process whose address space is limited, in bytes."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "allocate",
    [
        "import torch; torch.empty(10**10)",
        "import torch; torch.nn.Linear(10**5, 10**5)",
        "import numpy; numpy.ones(10**10)",
        "bytearray(10**11)",
        "import mmap; mmap.mmap(-1, 10**11)",
    ],
)
def test_an_allocation_that_fails_is_out_of_memory(allocate: str):
    code = f"""
import sys
from deepen.resource_errors import explain_resource_error
try:
    {allocate}
except Exception as error:
    sys.exit(explain_resource_error(error).what != "out of memory")
"""
    ended = run_with_memory(3 * GB, code)
    assert ended.returncode == 0, ended.stderr


def test_an_import_of_torch_that_finds_no_memory_is_out_of_memory():
    code = """
import sys
from deepen.resource_errors import explain_resource_error
try:
    import torch
except ImportError as error:
    sys.exit(explain_resource_error(error).what != "out of memory")
sys.exit("torch was imported")
"""
    assert run_with_memory(GB // 5, code).returncode == 0


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_other_libraries_say_so_too(error: Exception):
    assert explain_resource_error(error).what == "out of memory"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("NCCL error in: x.cpp:1, unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"),
    ],
)
def test_memory_of_a_gpu_has_its_own_remedy(error: Exception):
    """A smaller batch would not help: a step takes as many micro-batches as it needs."""
    shortage = explain_resource_error(error)
    assert shortage.what == "out of GPU memory" and shortage.smaller == ("micro_batch_tokens",)
    assert "`activation_checkpointing`" in shortage.remedy


@pytest.mark.parametrize(
    "make",
    [
        lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        lambda: ValueError("out of memory"),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_other_errors_are_not_explained(make: Callable[[], Exception]):
    assert explain_resource_error(make()) is None


def test_threads_run_out_differently():
    shortage = explain_resource_error(RuntimeError("can't start new thread"))
    assert shortage.what == "no more threads can be started" and "ulimit -u" in shortage.remedy

"""Errors that mean that memory or threads have run out, whichever library raised them. Needs no torch.

Python, torch, CUDA, the C++ library and the loader of shared libraries each have their own:

    explain_resource_error(MemoryError()).what       # "out of memory"
    explain_resource_error(RuntimeError("[enforce fail ...] DefaultCPUAllocator: can't allocate memory: ..."))
    explain_resource_error(RuntimeError("CUDA out of memory. ...")).what         # "out of GPU memory"
    explain_resource_error(RuntimeError("can't start new thread")).what          # "no more threads can be started"
    explain_resource_error(RuntimeError("shapes do not match"))                  # None
"""

import errno
import re
from dataclasses import dataclass

_MEMORY_MESSAGES = (
    "can't allocate memory",  # torch on a CPU: a RuntimeError
    "cannot allocate memory",  # the C library
    "not enough memory",
    "std::bad_alloc",
    "out of memory",
    "failed to map segment from shared object",  # an import under `ulimit -v`
)
_GPU_MEMORY = re.compile(r"(CUDA|HIP|cuda failure)\b.*out of memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
"""torch.OutOfMemoryError, CUDA's own RuntimeError, cuBLAS, cuDNN, and NCCL."""

_THREAD_MESSAGES = ("can't start new thread", "pthread_create failed")


@dataclass(frozen=True, slots=True)
class Shortage:
    """What has run out.

    Args:
        what: in words, such as "out of memory".
        remedy: what else helps.
        smaller: fields of which a smaller value helps.
    """

    what: str
    remedy: str
    smaller: tuple[str, ...] = ("batch_tokens", "context")


def explain_resource_error(error: BaseException) -> Shortage | None:
    """What has run out; None for any other error."""
    text = str(error)
    if isinstance(error, RuntimeError) and any(message in text for message in _THREAD_MESSAGES):
        remedy = "allow more (ulimit -u, the container's limit of processes)"
        return Shortage("no more threads can be started", remedy)
    if isinstance(error, RuntimeError) and _GPU_MEMORY.search(text):
        remedy = (
            "use `activation_checkpointing` from the beginning of a run, or end what else uses the GPU "
            "(nvidia-smi lists it)"
        )
        return Shortage("out of GPU memory", remedy, smaller=("micro_batch_tokens",))
    is_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if is_memory or (isinstance(error, RuntimeError | ImportError) and _mentions_memory(text)):
        return Shortage("out of memory", "allow more (ulimit -v, the container's limit), or use a larger machine")
    return None


def _mentions_memory(text: str) -> bool:
    return any(message.lower() in text.lower() for message in _MEMORY_MESSAGES)

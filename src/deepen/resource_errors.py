"""Errors that mean that memory or threads have run out, whichever library raised them. Needs no torch.

Python, torch, CUDA, the C++ library and the loader of shared libraries each have their own:

    explain_resource_error(MemoryError())            # ("out of memory", "...")
    explain_resource_error(RuntimeError("[enforce fail ...] DefaultCPUAllocator: can't allocate memory: ..."))
    explain_resource_error(RuntimeError("can't start new thread"))     # ("no more threads can be started", "...")
    explain_resource_error(RuntimeError("shapes do not match"))        # None
"""

import errno

_MEMORY_MESSAGES = (
    "can't allocate memory",  # torch on a CPU: a RuntimeError
    "cannot allocate memory",  # the C library
    "not enough memory",
    "std::bad_alloc",
    "out of memory",  # torch.OutOfMemoryError, and CUDA's own RuntimeError
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "failed to map segment from shared object",  # an import under `ulimit -v`
)
_THREAD_MESSAGES = ("can't start new thread", "pthread_create failed")


def explain_resource_error(error: BaseException) -> tuple[str, str] | None:
    """What has run out, and a remedy; None for any other error."""
    text = str(error)
    if isinstance(error, RuntimeError) and any(message in text for message in _THREAD_MESSAGES):
        return "no more threads can be started", "allow more (ulimit -u, the container's limit of processes)"
    is_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if is_memory or (isinstance(error, RuntimeError | ImportError) and _mentions_memory(text)):
        return "out of memory", "allow more (ulimit -v, the container's limit), or use a larger machine"
    return None


def _mentions_memory(text: str) -> bool:
    return any(message.lower() in text.lower() for message in _MEMORY_MESSAGES)

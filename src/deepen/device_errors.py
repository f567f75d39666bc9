"""Errors of a device and of the compiler of its kernels: what failed, in one line, and what to do. Needs no torch.

Those of a GPU are explained by `gpu_errors`. `torch.compile` wraps whatever its compilers raise in classes of its
own, with a command line and advice:

    explain_device_error(InductorError("CppCompileError: C++ compile error\\n\\nCommand: g++ ..."))
    # RunError("torch.compile failed: CppCompileError: C++ compile error", remedy="use `compile` no, ...")
    explain_device_error(RuntimeError("shapes do not match"))        # None

Memory that has run out, also while kernels were tried, is explained by `resource_errors`: ask that first.
"""

from deepen.errors import RunError
from deepen.gpu_errors import explain_gpu_error

_COMPILER_MODULES = ("torch._dynamo.exc", "torch._inductor.exc")
_COMPILER_REMEDY = "use `compile` no, which is slower; TORCH_LOGS=+inductor shows more"


def explain_device_error(error: BaseException) -> RunError | None:
    """The error to report instead; None for any other error."""
    if not any(kind.__module__ in _COMPILER_MODULES for kind in type(error).__mro__):
        of_gpu = explain_gpu_error(error)
        return None if of_gpu is None else RunError(of_gpu[0], remedy=of_gpu[1])
    lines = [line.strip(" :") for line in str(error).splitlines() if line.strip()]
    cause = next((line for line in lines if not line.startswith("backend=")), type(error).__name__)
    return RunError(f"torch.compile failed: {cause}", remedy=_COMPILER_REMEDY)

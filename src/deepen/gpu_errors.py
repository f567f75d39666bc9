"""Errors of a GPU, its driver, or its libraries (cuBLAS, cuDNN, NCCL): what happened, and what to do.

Needs no torch, which raises them as RuntimeErrors of several lines, whose first names the library and its error:

    explain_gpu_error(RuntimeError("CUDA error: no kernel image is available for execution on the device\\n..."))
    # ("CUDA error: no kernel image is available for execution on the device", "install a torch that ...")
    explain_gpu_error(RuntimeError("shapes do not match"))        # None

Memory that has run out is explained by `resource_errors`, whichever memory it is.
"""

import re

_SIGNS = re.compile(r"CUDA|cudaGet|CUBLAS|CUDNN|CUSOLVER|NVRTC|NVIDIA driver|NCCL|nccl|HIP error")
"""What the first lines of such an error contain; nothing else in deepen or torch raises it with these words."""

_NETWORK = (
    "NCCL_DEBUG=INFO shows which connection; check that the machines reach each other (NCCL_SOCKET_IFNAME), and "
    "that no process has ended"
)
_LOST = (
    "the GPU's memory is lost for this process, and the same command continues; if it fails at the same step, run "
    "it with CUDA_LAUNCH_BLOCKING=1, which names the operation, and report it"
)
_DRIVER = "update the NVIDIA driver, or install a torch for the CUDA that nvidia-smi shows"

_REMEDIES = (
    ("no kernel image", "install a torch that is built for this GPU, or set CUDA_VISIBLE_DEVICES to nothing"),
    ("busy or unavailable", "end the other process that has this GPU for itself (nvidia-smi lists it)"),
    ("invalid device ordinal", "CUDA_VISIBLE_DEVICES names a GPU that this machine does not have"),
    ("driver version is insufficient", _DRIVER),
    ("driver on your system is too old", _DRIVER),
    ("no NVIDIA driver", _DRIVER),
    ("system not yet initialized", "start NVIDIA's fabric manager, which GPUs with NVSwitch need"),
    ("ECC error", "the GPU is damaged: use another one, and reset this one (nvidia-smi --gpu-reset)"),
    ("fallen off the bus", "the machine has lost the GPU: restart it"),
    ("device is lost", "the machine has lost the GPU: restart it"),
    ("ARCH_MISMATCH", "this GPU has no such operation: use `precision` fp32"),
    ("STATUS_NOT_SUPPORTED", "this GPU has no such operation: use `precision` fp32"),
    ("Duplicate GPU", "start one process for each GPU"),
    ("NCCL", _NETWORK),
    ("nccl", _NETWORK),
    ("STATUS_NOT_INITIALIZED", "the GPU's memory is probably full (nvidia-smi lists who uses it)"),
    ("device-side assert", _LOST),
    ("illegal memory access", _LOST),
    ("misaligned address", _LOST),
    ("launch failure", _LOST),
    ("EXECUTION_FAILED", _LOST),
    ("INTERNAL_ERROR", _LOST),
)
"""A remedy for each part of a message, the most specific first."""

_OTHER = "nvidia-smi shows the GPU's state; the same command continues"


def explain_gpu_error(error: BaseException) -> tuple[str, str] | None:
    """What happened on a GPU, and a remedy with field names in backticks; None for any other error."""
    text = str(error).strip()
    if not isinstance(error, RuntimeError) or not _SIGNS.search(text):
        return None
    remedy = next((remedy for part, remedy in _REMEDIES if part in text), _OTHER)
    return text.splitlines()[0].rstrip(" .:"), remedy

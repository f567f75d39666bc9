"""Errors of CUDA, cuBLAS and NCCL, as torch words them, become one line with what to do."""

import pytest
import torch

from deepen.cli.output.failures import FAILED, report_failure
from deepen.gpu_errors import explain_gpu_error
from deepen.study.run.errors import DeviceFailedError, explain_segment_error

CUDA_ADVICE = """
Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda/cuda-runtime-api/ for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace may be wrong.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
"""
ERRORS = [
    ("CUDA error: no kernel image is available for execution on the device", "install a torch that is built for"),
    ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "end the other process that has this GPU"),
    ("CUDA error: device-side assert triggered", "CUDA_LAUNCH_BLOCKING=1, which names the operation"),
    ("CUDA error: an illegal memory access was encountered", "CUDA_LAUNCH_BLOCKING=1"),
    ("CUDA error: uncorrectable ECC error encountered", "the GPU is damaged"),
    ("CUDA error: unknown error", "nvidia-smi shows the GPU's state"),
    ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`", "if it fails at the same"),
    ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx( handle, opa)`", "use precision fp32"),
    ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", "memory is probably full"),
    ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", "if it fails at the same step"),
    (
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        "NumCudaDevices() that might have already set an error? Error 802: system not yet initialized",
        "fabric manager",
    ),
    ("The NVIDIA driver on your system is too old (found version 11040).", "update the NVIDIA driver"),
    ("NCCL error in: NCCLUtils.cpp:317, unhandled system error, NCCL version 2.27.5", "NCCL_DEBUG=INFO"),
    ("NCCL communicator was aborted on rank 1.", "NCCL_DEBUG=INFO"),
]
over_errors = pytest.mark.parametrize(("message", "remedy"), ERRORS, ids=[message[:60] for message, _ in ERRORS])


@over_errors
def test_an_error_of_a_gpu_becomes_one_line_and_exit_code_1(
    message: str, remedy: str, capsys: pytest.CaptureFixture[str]
):
    assert report_failure(RuntimeError(message + CUDA_ADVICE)) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message.rstrip('.')}: ") and remedy in line


@over_errors
def test_in_training_the_line_names_the_segment(message: str, remedy: str):
    error = explain_segment_error(torch.AcceleratorError(message + CUDA_ADVICE), "full depth, seed 3")
    assert isinstance(error, DeviceFailedError)
    assert str(error).startswith(f"{message.rstrip('.')}, in full depth, seed 3: ") and remedy in str(error)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("CUDA error"), OSError("NCCL")],
)
def test_other_errors_are_not_explained(error: Exception):
    assert explain_gpu_error(error) is None
    assert explain_segment_error(error, "full depth, seed 3") is error

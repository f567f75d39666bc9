"""Errors of torch.compile become one line with what to do, also where torch wraps them."""

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import InductorError

from deepen.cli.output.failures import FAILED, report_failure
from deepen.device_errors import explain_device_error
from deepen.gpu_errors import explain_gpu_error
from deepen.study.run.errors import DeviceFailedError, explain_segment_error

MISSING = RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")


@pytest.mark.parametrize(
    "error",
    [BackendCompilerFailed(torch.compile, MISSING, None), InductorError(MISSING, None)],
    ids=["dynamo", "inductor"],
)
def test_an_error_of_the_compiler_becomes_one_line(error: Exception, capsys: pytest.CaptureFixture[str]):
    assert report_failure(error) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: torch.compile failed: RuntimeError: Failed to find C compiler.")
    assert "use compile no" in line


def test_in_training_the_line_names_the_segment():
    error = explain_segment_error(InductorError(MISSING, None), "full depth, seed 3")
    assert isinstance(error, DeviceFailedError)
    assert "Failed to find C compiler" in str(error) and ", in full depth, seed 3: use compile no" in str(error)


def test_other_errors_are_those_of_a_gpu_or_not_explained():
    assert explain_device_error(RuntimeError("shapes do not match")) is None
    of_gpu = RuntimeError("CUDA error: unknown error")
    explained = explain_device_error(of_gpu)
    assert explained is not None and (explained.problem, explained.remedy) == explain_gpu_error(of_gpu)

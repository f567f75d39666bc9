"""The gradient of logits as one kernel: it agrees with torch's operations, and touches the logits three times."""

import logging
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepen.model.logit_gradients import STEPWISE, Fused

FUSED = Fused(compiled=False)
"""The function that is compiled, without the compiler."""

BF16_STEP = 2**-7
"""The largest distance of two neighbouring bf16 numbers, relative to them."""


def drawn(n: int, v: int, padding: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits whose padding is 0, and targets."""
    draw = torch.Generator().manual_seed(seed)
    logits_nw = 4 * torch.randn(n, v + padding, dtype=torch.float64, generator=draw)
    logits_nw[:, v:] = 0
    return logits_nw.to(dtype), torch.randint(0, v, (n,), generator=draw)


@settings(deadline=None)
@given(
    n=st.integers(1, 9),
    v=st.integers(1, 20),
    padding=st.integers(0, 5),
    unused=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_both_ways_agree_and_ignore_padding(n: int, v: int, padding: int, unused: int, seed: int):
    logits_nw, targets_n = drawn(n + unused, v, padding, torch.float64, seed)
    expected, expected_gradient = STEPWISE(logits_nw[:n].clone(), targets_n[:n], v)
    targets_n[n:] = -1
    loss, gradient = FUSED(logits_nw.clone(), targets_n, v)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient[:n], expected_gradient, rtol=1e-11, atol=1e-13)
    assert not gradient[n:].any() and not gradient[:, v:].any()


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 4e-6), (torch.bfloat16, BF16_STEP)])
def test_their_gradients_differ_by_rounding_only(dtype: torch.dtype, rounding: float):
    logits_nw, targets_n = drawn(64, 1000, 24, dtype)
    expected, expected_gradient = STEPWISE(logits_nw.clone(), targets_n, 1000)
    loss, gradient = FUSED(logits_nw.clone(), targets_n, 1000)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=rounding, atol=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs a C++ compiler")
def test_the_compiled_function_touches_the_logits_at_most_four_times():
    """Inductor's own count of what its kernels read and write. A GPU has a pass less: maximum and sum are one."""
    from torch._inductor import compile_fx, config, metrics

    logits_nw, targets_n = drawn(64, 4000, 32, torch.bfloat16)
    expected, expected_gradient = FUSED(logits_nw.clone(), targets_n, 4000)
    metrics.reset()
    counter = compile_fx.inductor_metrics_log
    level = counter.level
    counter.setLevel(logging.INFO)  # it counts only if it logs
    try:
        with config.patch(force_disable_caches=True):  # what comes from a cache is not counted
            loss, gradient = Fused()(logits_nw.clone(), targets_n, 4000)
    finally:
        counter.setLevel(level)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=BF16_STEP, atol=1e-9)
    assert 2 * logits_nw.nbytes <= metrics.num_bytes_accessed <= 4.1 * logits_nw.nbytes

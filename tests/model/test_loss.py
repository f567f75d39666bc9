"""The fused head and loss: the values of torch's cross-entropy, without its memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from deepen.model.chunks import MIN_CHUNK_ROWS, chunk_rows
from deepen.model.logit_gradients import STEPWISE, Fused, LogitGradients
from deepen.model.loss import MAX_TILE_CPU, mean_loss, token_scores

FUSED = Fused(compiled=False)


def drawn(n: int, d: int, v: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(n, d, dtype=dtype, generator=draw)
    weight_vd = torch.randn(v, d, dtype=dtype, generator=draw)
    return x_nd, weight_vd, torch.randint(0, v, (n,), generator=draw)


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss * 3, of))  # a gradient other than 1 enters


@settings(deadline=None)
@given(
    n=st.integers(1, 49),
    rows=st.integers(1, 49),
    d=st.integers(1, 9),
    v=st.integers(1, 20),
    seed=st.integers(0, 99),
    logit_gradients=st.sampled_from((STEPWISE, FUSED)),
    multiple=st.sampled_from((1, 8)),
)
def test_it_equals_torchs_cross_entropy(
    n: int, rows: int, d: int, v: int, seed: int, logit_gradients: LogitGradients, multiple: int
):
    x_nd, weight_vd, targets_n = drawn(n, d, v, torch.float64, seed)
    x_nd.requires_grad_()
    weight_vd.requires_grad_()
    options = {"logit_gradients": logit_gradients, "vocab_multiple": multiple}
    ours = mean_loss(x_nd, weight_vd, targets_n, rows, **options)  # type: ignore[arg-type]
    theirs = F.cross_entropy(F.linear(x_nd, weight_vd), targets_n)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    expected = gradients(theirs, x_nd, weight_vd)
    for mine, torchs in zip(gradients(ours, x_nd, weight_vd), expected, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-11, atol=1e-12)
    each = token_scores(x_nd, weight_vd, targets_n, rows, vocab_multiple=multiple)[:, 0]
    torch.testing.assert_close(each.mean(), theirs.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("trained", ["both", "stream", "head"])
def test_a_frozen_input_gets_no_gradient_and_its_product_is_not_computed(trained: str):
    x_nd, weight_vd, targets_n = drawn(5, 4, 7, torch.float32)
    x_nd.requires_grad_(trained != "head")
    weight_vd.requires_grad_(trained != "stream")
    products = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal products
            products += operation in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default)
            return operation(*args, **(kwargs or {}))

    with Count():
        mean_loss(x_nd, weight_vd, targets_n).backward()
    assert products == (3 if trained == "both" else 2)
    assert (x_nd.grad is not None, weight_vd.grad is not None) == (trained != "head", trained != "stream")


@pytest.mark.parametrize("logit_gradients", [STEPWISE, FUSED])
@pytest.mark.parametrize("multiple", [1, 64])
def test_under_autocast_products_are_bf16_and_the_softmax_is_not(logit_gradients: LogitGradients, multiple: int):
    x_nd, weight_vd, targets_n = drawn(300, 64, 1000, torch.float32)
    x_nd.requires_grad_()
    weight_vd.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = mean_loss(x_nd, weight_vd, targets_n, logit_gradients=logit_gradients, vocab_multiple=multiple)
        theirs = F.cross_entropy(F.linear(x_nd, weight_vd).float(), targets_n)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    for mine, torchs in zip(gradients(ours, x_nd, weight_vd), gradients(theirs, x_nd, weight_vd), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - torchs).norm() < 0.02 * torchs.norm()


def test_the_full_logits_are_never_in_memory():
    n, vocab = 4 * MIN_CHUNK_ROWS, 1 << 15
    x_nd, weight_vd, targets_n = drawn(n, 4, vocab, torch.float32)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            made = operation(*args, **(kwargs or {}))
            largest = max(
                [
                    largest,
                    *(t.numel() for t in (made if isinstance(made, tuple) else (made,)) if isinstance(t, Tensor)),
                ]
            )
            return made

    with Watch():
        mean_loss(x_nd.requires_grad_(), weight_vd.requires_grad_(), targets_n).backward()
    assert largest == chunk_rows(vocab, gpu=False) * vocab < n * vocab


def test_scores_from_tiles_of_the_vocabulary_are_those_of_all_logits():
    x_nd, weight_vd, targets_n = drawn(9, 4, 2 * MAX_TILE_CPU + 300, torch.float64)
    logits_nv = x_nd @ weight_vd.T
    targets_n[:3] = logits_nv.argmax(dim=1)[:3]
    scores_n2 = token_scores(x_nd, weight_vd, targets_n)
    torch.testing.assert_close(scores_n2[:, 0], F.cross_entropy(logits_nv, targets_n, reduction="none"))
    assert torch.equal(scores_n2[:, 1] == 1, logits_nv.argmax(dim=1) == targets_n)
    assert token_scores(x_nd[:0], weight_vd, targets_n[:0]).shape == (0, 2)


def test_even_chunks_have_one_shape_and_the_head_is_padded_to_its_multiple():
    x_nd, weight_vd, targets_n = drawn(100, 4, 70, torch.float32)
    shapes = []

    class Recorded:
        even_chunks = True

        def __call__(self, logits_nw: Tensor, targets_n: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
            shapes.append((*logits_nw.shape, len(targets_n), vocab))
            return FUSED(logits_nw, targets_n, vocab)

    x_nd.requires_grad_()
    weight_vd.requires_grad_()
    ours = mean_loss(x_nd, weight_vd, targets_n, 64, logit_gradients=Recorded(), vocab_multiple=64)
    assert shapes == [(64, 128, 64, 70)] * 2
    x_gradient, weight_gradient = gradients(ours, x_nd, weight_vd)
    assert x_gradient.shape == x_nd.shape
    assert weight_gradient.shape == weight_vd.shape and weight_gradient.is_contiguous()


def test_a_second_backward_pass_is_refused():
    weight_vd = torch.randn(7, 4, requires_grad=True)
    loss = mean_loss(torch.randn(3, 4), weight_vd, torch.tensor([0, 3, 6]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()

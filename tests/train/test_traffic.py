"""Bytes that a step reads and writes besides matrix products and attention, counted without a GPU on fake tensors.

On a GPU these bytes are time: a card moves 2 to 3 GB in a millisecond. The bounds are what the code needs now, so
an additional pass over a large tensor exceeds them. An operation counts the bytes of its inputs and outputs; views
count nothing. Shapes are GPT-2 124M's, in bf16.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deepen.model.build import build
from deepen.model.chunks import chunk_rows
from deepen.model.logit_gradients import STEPWISE, LogitGradients
from deepen.model.loss import mean_loss
from deepen.model.presets import PRESETS
from deepen.train.device import autocast
from deepen.train.engine import clip_gradients
from deepen.train.optim.make import make_optimizer
from deepen.train.optim.spec import OptimizerSpec
from short_runs import CPU

GPT2 = replace(PRESETS["gpt2-124m"], vocab=50_304)
MB = 1e6

aten = torch.ops.aten
PRODUCTS = {
    *(aten.mm.default, aten.addmm.default, aten.addmm_.default),
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default,
}


INDEXED = {aten.gather.default, aten.embedding.default, aten.scatter_add_.default}
"""Operations that touch as many numbers of their first tensor as they have indices."""


class Traffic(TorchDispatchMode):
    """Counts the bytes of tensors that operations read and write, except in products."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = operation(*args, **(kwargs or {}))
        name = str(operation)
        if not name.startswith("aten.") or operation.is_view or operation in PRODUCTS:
            return result
        if operation in INDEXED:
            self.bytes += 3 * size(args[1:])
        elif "_like" in name or "new_" in name:  # made in the shape of their input, which is not read
            self.bytes += size(result) if "empty" not in name else 0
        else:  # `out=` is the result
            self.bytes += size(args) + size(result)
            if not operation._schema.returns:  # what it writes in place is not in its result
                for argument, declared in zip(args, operation._schema.arguments, strict=False):
                    if declared.alias_info is not None and declared.alias_info.is_write:
                        self.bytes += size(argument)
        return result


def size(tree: object) -> int:
    """Bytes of all tensors in a nested value."""
    return sum(leaf.numel() * leaf.itemsize for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


@pytest.fixture(autouse=True)
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


class OneKernel:
    """Counts `Fused` as what its kernels do, two reads and one write of the logits (test_logit_gradients.py)."""

    even_chunks = True

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def __call__(self, logits_nw: Tensor, targets_n: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
        self.traffic.bytes += 3 * size(logits_nw)
        return logits_nw.new_zeros((), dtype=torch.float32), logits_nw


def loss_megabytes(logit_gradients: LogitGradients, traffic: Traffic, *, trains_head: bool) -> float:
    """MB per token of head and loss, with the chunks of a GPU, in a micro-batch of 32 sequences."""
    rows = 32 * GPT2.context
    x_nd = torch.empty(rows, GPT2.width, requires_grad=True)
    weight_vd = torch.empty(GPT2.vocab, GPT2.width, requires_grad=trains_head)
    targets_n = torch.empty(rows, dtype=torch.int64)
    most = chunk_rows(GPT2.vocab, gpu=True)
    with autocast(CPU.device, "bf16"), traffic:
        mean_loss(x_nd, weight_vd, targets_n, most, logit_gradients=logit_gradients).backward()
    return traffic.bytes / rows / MB


@pytest.mark.parametrize(("trains_head", "stepwise", "fused"), [(False, 1.6, 0.34), (True, 1.9, 0.7)])
def test_the_fused_loss_moves_a_fraction_of_what_torchs_operations_do(
    trains_head: bool, stepwise: float, fused: float
):
    """A CPU adds each chunk's gradient of the head in a pass of its own, 0.3 MB; on a GPU its product adds it."""
    assert loss_megabytes(STEPWISE, Traffic(), trains_head=trains_head) < stepwise
    traffic = Traffic()
    assert loss_megabytes(OneKernel(traffic), traffic, trains_head=trains_head) < fused


def test_blocks_and_optimizer_move_no_more_than_now():
    networks = {depth: build(replace(GPT2, depth=depth)) for depth in (1, 2)}
    moved = {}
    for depth, network in networks.items():
        tokens_bt = torch.empty(4, GPT2.context, dtype=torch.int64)
        with Traffic() as traffic, autocast(CPU.device, "bf16"):
            network.hidden_states(tokens_bt, None).sum().backward()
        moved[depth] = traffic.bytes
    assert (moved[2] - moved[1]) / (4 * GPT2.context) < 0.2 * MB

    network = networks[1]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter)
    optimizer = make_optimizer(network, OptimizerSpec.adamw(), {}, CPU)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    optimizer.step()
    with Traffic() as traffic:
        clip_gradients(network, 1.0, CPU)
    assert traffic.bytes < 12.1 * parameters  # read for the norm; read and written to scale
    with Traffic() as traffic:
        optimizer.step()
    assert traffic.bytes < 32.1 * parameters  # weight, gradient, two moments: read, and declared as written

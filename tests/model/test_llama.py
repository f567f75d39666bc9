"""The llama network against its formulas, written out in double precision."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.llama import MLP
from deepen.model.rotary import rotary_table, rotate

CPU = torch.device("cpu")
GROUPED = ModelConfig(
    name="test", family="llama", depth=2, width=24, heads=6, kv_heads=2, mlp=20, context=12, vocab=32, tied=False
)


def drawn_weights(config: ModelConfig, depth: int) -> dict[str, Tensor]:
    """Weights large enough that attention is far from even; gains too, all different."""
    draw = torch.Generator().manual_seed(1)
    shapes = {name: weight.shape for name, weight in init_weights(config, depth, seed=0).items()}
    return {name: torch.randn(shape, generator=draw) * 0.5 for name, shape in shapes.items()}


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    gated = x @ gate.T
    return (gated / (1 + (-gated).exp()) * (x @ up.T)) @ down.T


def rotated(x: Tensor, base: float) -> Tensor:
    """Rows as complex numbers, row n times e^(i·n·base^(-2·pair / width))."""
    width = x.shape[1]
    speeds = base ** (-2 * torch.arange(width // 2, dtype=torch.float64) / width)
    angles = torch.arange(len(x), dtype=torch.float64)[:, None] * speeds
    z = torch.complex(x[:, : width // 2], x[:, width // 2 :]) * torch.exp(1j * angles)
    return torch.cat((z.real, z.imag), dim=1)


def attention(config: ModelConfig, x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_out: Tensor) -> Tensor:
    width, heads = config.head_width, []
    for head in range(config.heads):
        group = head // (config.heads // config.kv_heads)
        q, k, v = (
            x @ w[width * index : width * (index + 1)].T for w, index in ((w_q, head), (w_k, group), (w_v, group))
        )
        q, k = rotated(q, config.rope_base), rotated(k, config.rope_base)
        rows = [torch.softmax(k[: i + 1] @ q[i] / math.sqrt(width), 0) @ v[: i + 1] for i in range(len(x))]
        heads.append(torch.stack(rows))
    return torch.cat(heads, dim=1) @ w_out.T


def by_formula(config: ModelConfig, weights: dict[str, Tensor], depth: int, tokens: Tensor) -> Tensor:
    w = {name.removesuffix(".weight"): weight.double() for name, weight in weights.items()}
    x = w["token_embedding"][tokens]
    for block in (f"blocks.{index}." for index in range(depth)):
        matrices = [w[block + "attention." + name] for name in ("q", "k", "v", "out")]
        x = x + attention(config, rms_norm(x, w[block + "norm_1"]), *matrices)
        matrices = [w[block + "mlp." + name] for name in ("gate", "up", "down")]
        x = x + swiglu(rms_norm(x, w[block + "norm_2"]), *matrices)
    return rms_norm(x, w["norm"]) @ w["token_embedding" if config.tied else "head"].T


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": True},
        {"kv_heads": 6},
        {"kv_heads": 1},
        {"kv_heads": 3, "rope_base": 500.0},
    ],
    ids=str,
)
def test_a_llama_computes_its_formulas(changes: dict[str, object]):
    config = replace(GROUPED, **changes)
    weights, tokens = drawn_weights(config, 2), torch.randperm(32, generator=torch.Generator().manual_seed(0))[:12]
    network = build(config, 2)
    network.load_state_dict(weights)
    with torch.no_grad():
        logits = network(tokens[None])[0].double()
    expected = by_formula(config, weights, 2, tokens)
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_grouped_queries_equal_full_attention_with_keys_and_values_repeated_per_group():
    weights, full = drawn_weights(GROUPED, 2), replace(GROUPED, kv_heads=GROUPED.heads)
    per_group, width = GROUPED.heads // GROUPED.kv_heads, GROUPED.head_width
    repeated = {
        name: weight.view(GROUPED.kv_heads, width, -1).repeat_interleave(per_group, dim=0).flatten(0, 1)
        if name.endswith(("attention.k.weight", "attention.v.weight"))
        else weight
        for name, weight in weights.items()
    }
    tokens, outcomes = torch.arange(24).view(2, 12), []
    for config, state in ((GROUPED, weights), (full, repeated)):
        network = build(config, 2)
        network.load_state_dict(state)
        with torch.no_grad():
            outcomes.append(network(tokens))
    assert torch.allclose(*outcomes, atol=1e-4)


def test_the_norms_are_rms_norms():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(5, 24, generator=draw) * torch.tensor([1e-3, 0.1, 1, 10, 1e3])[:, None]
    network = build(GROUPED, 1)
    gain = torch.randn(24, generator=draw)
    for norm in (network.blocks[0].norm_1, network.blocks[0].norm_2, network.norm):
        norm.load_state_dict({"weight": gain})
        assert torch.allclose(norm(x).double(), rms_norm(x.double(), gain.double()), rtol=1e-5)


def test_the_mlp_is_swiglu():
    draw, mlp = torch.Generator().manual_seed(0), MLP(GROUPED)
    x = torch.randn(5, 24, generator=draw)
    matrices = [linear.weight.double() for linear in (mlp.gate, mlp.up, mlp.down)]
    assert torch.allclose(mlp(x).double(), swiglu(x.double(), *matrices), atol=1e-6)


def at_position(vector: Tensor, position: int, config: ModelConfig = GROUPED) -> Tensor:
    """A head's vector as `rotate` leaves it at a position."""
    row = torch.zeros(1, position + 1, 1, config.head_width)
    row[0, position, 0] = vector
    return rotate(row, rotary_table(config, position + 1, CPU))[0, position, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 300), st.sampled_from([2, 8, 24]))
def test_scores_of_rotated_vectors_depend_on_their_distance_only(i: int, j: int, shift: int, head_width: int):
    config = replace(GROUPED, heads=24 // head_width, kv_heads=1)
    q, k = torch.randn(2, head_width, generator=torch.Generator().manual_seed(i))
    score = at_position(q, i, config) @ at_position(k, j, config)
    shifted = at_position(q, i + shift, config) @ at_position(k, j + shift, config)
    assert abs(score - shifted) < 1e-3


@given(st.integers(0, 300))
def test_rotation_keeps_the_length_of_every_pair_and_does_not_change_position_0(position: int):
    vector = torch.randn(4, generator=torch.Generator().manual_seed(position))
    lengths = [v.view(2, 2).norm(dim=0) for v in (vector, at_position(vector, position))]
    assert torch.allclose(*lengths, rtol=1e-5)
    assert torch.equal(at_position(vector, 0), vector)
    assert position == 0 or not torch.allclose(at_position(vector, position), vector, rtol=1e-5)


def test_angles_are_not_rounded_where_matrix_products_run_in_bf16():
    with torch.autocast("cpu", torch.bfloat16):
        table = rotary_table(GROUPED, 4096, CPU)
    assert table.dtype is torch.float32 and torch.equal(table, rotary_table(GROUPED, 4096, CPU))
    assert rotate(torch.ones(1, 3, 1, 4, dtype=torch.bfloat16), table[:, :3]).dtype is torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_and_their_gradients_are_those_of_complex_numbers(dtype: torch.dtype):
    table = rotary_table(GROUPED, 7, CPU)
    draw = torch.Generator().manual_seed(0)
    shapes = (3, 7, 6, 4), (3, 7, 2, 4)  # queries, keys of fewer heads
    inputs = [torch.randn(shape, generator=draw, dtype=dtype).requires_grad_() for shape in shapes]
    weights = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    positions = torch.arange(7).expand(3, 7)
    for x, weight in zip(inputs, weights, strict=True):
        mine, right = rotate(x, table), torch.cat(_rotate_complex(x.double(), GROUPED.rope_base), dim=-1)
        assert torch.allclose(mine.double(), right, atol=1e-6)
        assert torch.equal(mine, rotate(x, table[:, positions]))  # a table with positions for each row
        gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (mine, right)]
        assert torch.allclose(*gradients, atol=1e-6)


def _rotate_complex(x_bthk: Tensor, base: float) -> tuple[Tensor, Tensor]:
    low, high = x_bthk.chunk(2, dim=-1)
    speeds = base ** (-2 * torch.arange(low.shape[-1], dtype=torch.float64) / x_bthk.shape[-1])
    angles = torch.arange(x_bthk.shape[1], dtype=torch.float64)[:, None, None] * speeds
    z = torch.complex(low, high) * torch.exp(1j * angles)
    return z.real, z.imag

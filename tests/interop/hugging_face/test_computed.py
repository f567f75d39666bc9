"""Copies in a Hugging Face folder that differ from their source: mixtures, noise, scaled outputs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import read_hugging_face_checkpoint
from deepen.interop.growing import grow_checkpoint

Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def with_transformers() -> None:
    pytest.importorskip("transformers")


def write(folder: Path, blocks: list[Tensors], **config: Any) -> Path:
    folder.mkdir()
    values = {"model_type": "mine", "num_hidden_layers": len(blocks), "tie_word_embeddings": True, **config}
    (folder / "config.json").write_text(json.dumps(values))
    inside = {
        f"model.layers.{index}.{name}": each for index, block in enumerate(blocks) for name, each in block.items()
    }
    save_file({"embed.weight": torch.ones(8, 4), **inside}, folder / "model.safetensors")
    return folder


def grow(folder: Path, out: Path, depth: int, **growth: Any) -> list[Tensors]:
    """Grow a folder; returns the tensors of each block."""
    grow_checkpoint(read_hugging_face_checkpoint(folder), out, depth=depth, growth=Growth(**growth))
    tensors = load_file(out / "model.safetensors")
    return [
        {
            name.removeprefix(f"model.layers.{index}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"model.layers.{index}.")
        }
        for index in range(depth)
    ]


def plain_block(seed: int, dtype: torch.dtype = torch.float32) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"attn.o_proj.weight": (6, 4), "mlp.up_proj.weight": (8, 4), "mlp.down_proj.weight": (4, 8)}
    matrices = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}
    mask = torch.ones(1, 1, 4, 4).tril()
    return {**matrices, "norm.weight": torch.rand(4, generator=draw).to(dtype), "attn.bias": mask}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_interpolated_blocks_are_the_weighted_mean_of_their_neighbours(dtype: torch.dtype, tmp_path: Path):
    blocks = [plain_block(seed, dtype) for seed in range(2)]
    grown = grow(write(tmp_path / "small", blocks), tmp_path / "out", 4, operator="interpolate")
    for name, lower in blocks[0].items():
        for index, share in enumerate((0.0, 0.5, 1.0, 1.0)):
            expected = torch.lerp(lower.double(), blocks[1][name].double(), share).to(lower.dtype)
            assert grown[index][name].dtype == lower.dtype
            close = torch.finfo(lower.dtype).eps
            assert torch.allclose(grown[index][name], expected, rtol=close, atol=close), (index, name)


def test_a_scaled_copy_has_smaller_output_projections_and_all_else_of_its_source(tmp_path: Path):
    blocks = [plain_block(seed) for seed in range(2)]
    grown = grow(write(tmp_path / "small", blocks), tmp_path / "out", 3, operator="stack", residual_scale=0.25)
    for name, source in blocks[0].items():
        scale = 0.25 if name in ("attn.o_proj.weight", "mlp.down_proj.weight") else 1.0
        assert torch.equal(grown[0][name], source) and torch.equal(grown[2][name], scale * source), name


def test_where_a_norm_multiplies_by_one_plus_its_weight_that_factor_is_scaled(tmp_path: Path):
    blocks = [{**plain_block(seed), "post_feedforward_layernorm.weight": torch.rand(4)} for seed in range(2)]
    small = write(tmp_path / "small", blocks, model_type="gemma2")
    (small / "config.json").write_text(json.dumps({"model_type": "gemma2", "num_hidden_layers": 2}))
    grown = grow(small, tmp_path / "out", 4, operator="stack", residual_scale=0.25)
    name = "post_feedforward_layernorm.weight"
    assert torch.allclose(1 + grown[2][name], 0.25 * (1 + blocks[0][name]))
    assert torch.equal(grown[2]["mlp.down_proj.weight"], blocks[0]["mlp.down_proj.weight"])


@pytest.mark.slow
def test_noise_is_relative_to_each_matrix_even_if_it_is_computed_in_pieces(tmp_path: Path):
    large = 3 * torch.randn(2100, 2048)  # more numbers than are computed at once
    small = write(tmp_path / "small", [{**plain_block(0), "mlp.up_proj.weight": large}])
    grown = grow(small, tmp_path / "out", 3, operator="last-block", noise=0.1)
    for name, source in {**plain_block(0), "mlp.up_proj.weight": large}.items():
        if name in ("norm.weight", "attn.bias"):  # a vector, and GPT-2's causal mask
            assert torch.equal(grown[1][name], source)
        else:
            assert not torch.equal(grown[1][name], grown[2][name])
    for block in grown[1:]:
        added = block["mlp.up_proj.weight"] - large
        assert (added.std() / large.square().mean().sqrt()).item() == pytest.approx(0.1, rel=0.01)
        assert added[-1].std().item() == pytest.approx(added[0].std().item(), rel=0.2)
    again = grow(small, tmp_path / "again", 3, operator="last-block", noise=0.1)
    assert torch.equal(again[2]["mlp.up_proj.weight"], grown[2]["mlp.up_proj.weight"])


@pytest.mark.parametrize(
    ("growth", "changes", "problem"),
    [
        ({"operator": "interpolate"}, {"mlp.up_proj.weight": torch.ones(5, 4)},
         "operator cannot mix blocks 0 and 1, which are of different kinds"),
        ({"operator": "interpolate"}, {"mlp.experts.weight": torch.ones(4)},
         "operator cannot mix blocks 0 and 1, which are of different kinds"),
        ({"operator": "stack", "noise": 0.1}, {"mlp.up_proj.weight": torch.ones(8, 4, dtype=torch.int8)},
         "operator needs numbers, but mlp.up_proj.weight is quantized"),
    ],
)  # fmt: skip
def test_blocks_that_cannot_be_computed_are_refused_before_anything_is_written(
    growth: dict[str, Any], changes: Tensors, problem: str, tmp_path: Path
):
    small = write(tmp_path / "small", [{**plain_block(0), **changes}, plain_block(1)])
    with pytest.raises(InvalidValueError) as refused:
        grow(small, tmp_path / "out", 4, **growth)
    assert problem in str(refused.value) and not (tmp_path / "out").exists()

"""Hugging Face checkpoints of many families grow on disk, as transformers and mergekit see it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepen.errors import InvalidValueError, RunError
from deepen.growth.layout import parse_layout
from deepen.growth.spec import Growth
from deepen.interop.checkpoint import read_hugging_face_checkpoint
from deepen.interop.growing import GrownCheckpoint, grow_checkpoint
from hugging_face_folders import write_large_checkpoint

SIZES = {
    "vocab_size": 259, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "num_hidden_layers": 4, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": None,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 259, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "bos_token_id": 0},
    "llama": SIZES,
    "mistral": SIZES,
    "qwen2": SIZES | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen3": SIZES | {"head_dim": 8},
    "olmo2": SIZES,
    "gemma": SIZES | {"head_dim": 8},
    "gemma2": SIZES | {"head_dim": 8, "sliding_window": 8},
    "gemma3_text": SIZES | {"head_dim": 8, "sliding_window": 8, "sliding_window_pattern": 2},
    "gemma4_text": SIZES | {"head_dim": 8, "global_head_dim": 8, "hidden_size_per_layer_input": 0},
    "phi": SIZES,
    "phi3": SIZES,
    "glm4": SIZES | {"head_dim": 8},
    "smollm3": SIZES | {"no_rope_layer_interval": 2},
    "cohere2": SIZES | {"sliding_window": 8},
    "opt": {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 4, "ffn_dim": 48, "num_attention_heads": 4,
            "max_position_embeddings": 64, "word_embed_proj_dim": 32},
    "gpt_neo": {"vocab_size": 259, "hidden_size": 32, "num_layers": 4, "num_heads": 4, "window_size": 8,
                "attention_types": [[["global", "local"], 2]], "max_position_embeddings": 64},
    "bloom": {"vocab_size": 259, "hidden_size": 32, "n_layer": 4, "n_head": 4},
    "falcon": {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4},
    "mixtral": SIZES | {"num_local_experts": 4},
    "qwen2_moe": SIZES | EXPERTS | {"mlp_only_layers": [0], "shared_expert_intermediate_size": 16},
    "deepseek_v3": SIZES | {"num_key_value_heads": 4, "first_k_dense_replace": 2, "n_routed_experts": 4,
                            "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16,
                            "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
                            "v_head_dim": 8},
    "gpt_oss": SIZES | {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    "mamba": {"vocab_size": 259, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 4},
}  # fmt: skip
FAST = ("gpt2", "gemma2")
TEXT = "The quick brown fox jumps over the lazy dog."


def make_checkpoint(folder: Path, family: str, dtype: torch.dtype = torch.float32) -> Path:
    """A random checkpoint in which no two weights are alike, in shards, with the byte tokenizer."""
    transformers = pytest.importorskip("transformers")
    from deepen.data.tokenizers import make_tokenizer

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family])
    network = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    network.save_pretrained(folder, max_shard_size="60KB")
    make_tokenizer("byte").write(folder)
    return folder


def grow(folder: Path, out: Path, *, text: str | None = TEXT, **target: Any) -> GrownCheckpoint:
    return grow_checkpoint(read_hugging_face_checkpoint(folder), out, text=text, **target)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: each for file in folder.glob("*.safetensors") for name, each in load_file(file).items()}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("llama") / "small", "llama")


def slow_unless_fast(families: dict[str, Any]) -> list[Any]:
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in families]


@pytest.mark.parametrize("family", slow_unless_fast(FAMILIES))
def test_identity_blocks_leave_the_logits_of_any_family_as_they_are(family: str, tmp_path: Path):
    """`text` makes `grow_checkpoint` load both with transformers, which must find a value for every parameter."""
    small = make_checkpoint(tmp_path / "small", family)
    for operator in ("copy-zero", "identity"):
        grown = grow(small, tmp_path / operator, depth=7, growth=Growth(operator=operator))
        assert grown.comparison is not None and grown.comparison.max_difference == 0
    copied = grow(small, tmp_path / "copies", depth=8, growth=Growth(operator="interleave"))
    assert copied.comparison is not None and copied.comparison.max_difference > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2", "olmo2", "phi3", "gemma"])
def test_a_layout_gives_what_mergekit_gives_tensor_by_tensor(family: str, tmp_path: Path):
    merge = pytest.importorskip("mergekit.merge")
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions

    small = make_checkpoint(tmp_path / "small", family)
    ranges = [[0, 3], [1, 4]]
    slices = [{"sources": [{"model": str(small), "layer_range": each}]} for each in ranges]
    recipe = {"merge_method": "passthrough", "dtype": "float32", "slices": slices}
    options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
    merge.run_merge(MergeConfiguration.model_validate(recipe), str(tmp_path / "theirs"), options)
    grow(small, tmp_path / "ours", growth=Growth(layout=parse_layout("0-2,1-3")))
    ours, theirs = tensors(tmp_path / "ours"), tensors(tmp_path / "theirs")
    if "lm_head.weight" not in ours:  # mergekit writes a tied head twice
        theirs.pop("lm_head.weight", None)
    assert ours.keys() == theirs.keys() and len(ours) > len(tensors(small))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_tensor_is_a_copy_in_its_own_precision(tmp_path: Path):
    small = make_checkpoint(tmp_path / "small", "llama", torch.bfloat16)
    grown = grow(small, tmp_path / "out", depth=6, growth=Growth(operator="interleave"), text=None)
    before, after = tensors(small), tensors(tmp_path / "out")
    sources = [block.source for block in grown.blocks]
    assert sources == [0, 1, 1, 2, 3, 3] and [block.is_new for block in grown.blocks].count(True) == 2
    for name, tensor in after.items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(sources[int(parts[2])])
        assert torch.equal(tensor, before[".".join(parts)]) and tensor.dtype == torch.bfloat16
    assert grown.parameters == sum(tensor.numel() for tensor in after.values())
    assert grown.old_parameters == sum(tensor.numel() for tensor in before.values())


def test_config_generation_config_and_tokenizer_come_along(llama: Path, tmp_path: Path):
    for extra in ("README.md", "LICENSE", "model.py", "pytorch_model.bin", "model.gguf", ".hidden"):
        (llama / extra).write_text(extra)
    try:
        grow(llama, tmp_path / "out", depth=5, growth=Growth(operator="stack"), text=None)
    finally:
        for extra in ("pytorch_model.bin", "model.gguf"):
            (llama / extra).unlink()
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (llama, tmp_path / "out"))
    assert new == old | {"num_hidden_layers": 5}
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("README.md\n## Growth\n\ndeepen made this model deeper, with operator stack: 4 blocks")
    assert "by their numbers before: 0-3,0. New blocks: 4." in card
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".safetensors"}
    assert names == {"README.md", "LICENSE", "model.py", "config.json", "generation_config.json", "tokenizer.json"}


def test_fresh_blocks_have_the_scale_of_the_config_and_are_the_same_each_time(llama: Path, tmp_path: Path):
    for out in ("one", "two"):
        grow(llama, tmp_path / out, depth=6, growth=Growth(operator="random"), text=None)
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert all(torch.equal(one[name], two[name]) for name in one)
    fresh = {name: each for name, each in one.items() if name.startswith(("model.layers.4.", "model.layers.5."))}
    assert len(fresh) == 18
    for name, tensor in fresh.items():
        if "norm" in name:
            assert torch.equal(tensor, one[name.replace("layers.4", "layers.3").replace("layers.5", "layers.3")])
        else:
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            expected = 0.02 / (12**0.5 if is_output else 1)
            assert tensor.std().item() == pytest.approx(expected, rel=0.1)


def test_blocks_that_a_layout_leaves_out_are_reported(llama: Path, tmp_path: Path):
    grown = grow(llama, tmp_path / "out", growth=Growth(layout=parse_layout("0-1,0-1,3")))
    assert grown.left_out == (2,) and len(grown.blocks) == 5 and grown.comparison is not None


def test_blocks_that_should_be_the_identity_and_are_not_leave_no_result(tmp_path: Path):
    """A post-norm model: zero output projections leave a norm on the residual stream."""
    small = make_checkpoint(tmp_path / "small", "opt")
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"do_layer_norm_before": False}))
    with pytest.raises(RunError, match="the logits should be equal after growth, but differ by up to"):
        grow(small, tmp_path / "out", depth=6, growth=Growth(operator="copy-zero"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]


def test_growing_reports_how_much_is_written(llama: Path, tmp_path: Path):
    shares: list[float | None] = []
    grow_checkpoint(
        read_hugging_face_checkpoint(llama),
        tmp_path / "out",
        depth=6,
        growth=Growth(),
        on_progress=lambda what, share: shares.append(share),
    )
    assert shares[-1] == 1.0 and shares == sorted(shares, key=float) and len(shares) > 10


def test_growth_only_adds_and_never_overwrites(llama: Path, tmp_path: Path):
    with pytest.raises(InvalidValueError, match="depth is 4, but the model has 4 blocks already"):
        grow(llama, tmp_path / "out", depth=4, growth=Growth())
    with pytest.raises(InvalidValueError, match="layout has block 9, but the model has 4 blocks"):
        grow(llama, tmp_path / "out", growth=Growth(layout=(0, 1, 2, 3, 9)))
    with pytest.raises(InvalidValueError, match="is in use: it has content"):
        grow(llama, llama, depth=6, growth=Growth())
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_whose_blocks_do_not_match_is_refused_before_it_is_written(llama: Path, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    (small / "config.json").write_bytes((llama / "config.json").read_bytes())
    weights, name = tensors(llama), "model.layers.1.mlp.up_proj.weight"
    save_file(weights | {name: torch.zeros(5, 32)}, small / "model.safetensors")
    with pytest.raises(InvalidValueError, match=rf"has {name} of shape \(5, 32\)"):
        grow(small, tmp_path / "out", depth=6, growth=Growth(), text=None)
    save_file({key: each for key, each in weights.items() if key != name}, small / "model.safetensors")
    with pytest.raises(InvalidValueError, match=f"has no tensor {name}"):
        grow(small, tmp_path / "out", depth=6, growth=Growth(), text=None)
    assert not (tmp_path / "out").exists()


def test_blocks_that_predict_later_tokens_stay_above_the_others(tmp_path: Path):
    """As in DeepSeek-V3, whose list of blocks has one more than its config states."""
    small = tmp_path / "small"
    small.mkdir()
    config = {"model_type": "mine", "num_hidden_layers": 3, "num_nextn_predict_layers": 1}
    (small / "config.json").write_text(json.dumps(config))
    save_file(
        {f"model.layers.{block}.x": torch.tensor([block]) for block in range(4)}, small / "model.safetensors"
    )
    grow(small, tmp_path / "out", depth=5, growth=Growth(operator="stack"), text=None)
    grown = {name: each.item() for name, each in tensors(tmp_path / "out").items()}
    assert grown == {f"model.layers.{block}.x": source for block, source in enumerate((0, 1, 2, 0, 1, 3))}


def test_a_checkpoint_that_cannot_be_compared_is_refused_before_it_is_written(llama: Path, tmp_path: Path):
    shares: list[float | None] = []
    (llama / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    try:
        with pytest.raises(InvalidValueError, match="cannot be verified: it has no tokenizer"):
            grow_checkpoint(
                read_hugging_face_checkpoint(llama),
                tmp_path / "out",
                depth=6,
                growth=Growth(),
                text=TEXT,
                on_progress=lambda what, share: shares.append(share),
            )
    finally:
        (tmp_path / "tokenizer.json").rename(llama / "tokenizer.json")
    assert not shares and not (tmp_path / "out").exists()


GROW_WITH_LIMIT = """
import json, resource, sys
from pathlib import Path

from deepen.growth.spec import Growth
from deepen.interop.checkpoint import read_hugging_face_checkpoint
from deepen.interop.growing import grow_checkpoint
import transformers

small, out, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
before = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (before + limit, before + limit))
grow_checkpoint(read_hugging_face_checkpoint(small), out, depth=24, growth=Growth(operator="interleave"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory")
def test_a_checkpoint_grows_in_less_memory_than_one_of_its_tensors(tmp_path: Path):
    """Shards of 600 MB whose bytes are holes, with 32 MB of memory; a tensor has 50 MB."""
    write_large_checkpoint(tmp_path / "small")
    folders = [str(tmp_path / "small"), str(tmp_path / "out")]
    command = [sys.executable, "-c", GROW_WITH_LIMIT, *folders, str(32 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.safetensors")) > 24 * 50_000_000

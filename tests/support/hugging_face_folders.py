"""Small checkpoints in Hugging Face's format."""

import json
from pathlib import Path

from safetensors.torch import save_file

from deepen.data.tokenizers import make_tokenizer
from deepen.interop.hugging_face.config import make_config
from deepen.interop.hugging_face.names import to_hugging_face
from deepen.model.build import init_weights
from deepen.model.config import ModelConfig


def write_llama(folder: Path, depth: int) -> None:
    """A Llama with random weights and the byte tokenizer."""
    model = ModelConfig(
        name="llama", family="llama", depth=depth, width=32, heads=4, kv_heads=2, context=64, vocab=257, tied=False
    )
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(make_config(model)))
    save_file(to_hugging_face(model, init_weights(model, depth, seed=0)), folder / "model.safetensors")
    make_tokenizer("byte").write(folder)


def write_large_checkpoint(folder: Path) -> None:
    """Three shards of 200 MB whose bytes are holes; each of 12 blocks is a matrix of 50 MB."""
    config = {"model_type": "synthetic", "num_hidden_layers": 12}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    weight_map = {}
    for shard in range(3):
        name = f"model-{shard + 1:05}-of-00003.safetensors"
        own = [f"model.layers.{block}.mlp.down_proj.weight" for block in range(4 * shard, 4 * shard + 4)]
        size = 50_000_000
        header = {
            tensor: {"dtype": "BF16", "shape": [size // 2000, 1000], "data_offsets": [size * i, size * (i + 1)]}
            for i, tensor in enumerate(own)
        }
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + size * len(own))
        weight_map |= dict.fromkeys(own, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

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

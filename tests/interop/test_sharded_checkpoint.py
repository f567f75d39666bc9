"""A checkpoint in shards is read, exported and grown as a whole one is, to the byte."""

from dataclasses import replace
from pathlib import Path

import torch

from deepen.growth.spec import Growth
from deepen.interop.checkpoint import write_model_file
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.export import export_hugging_face
from deepen.interop.growing import grow_checkpoint
from deepen.interop.load import load_model
from deepen.model.config import ModelConfig
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state
from shares import save_in_shares


def test_a_checkpoint_in_shards_gives_the_files_of_a_whole_one(model: ModelConfig, tmp_path: Path):
    shallow = replace(model, depth=3)
    state = initial_state(shallow, 3, seed=1)
    state = replace(state, moments={name: {"exp_avg": weight * 2} for name, weight in state.weights.items()})
    write_checkpoint(tmp_path / "whole", state, shallow, (), None)
    save_in_shares(state, tmp_path / "shards", 2)
    write_model_file(tmp_path / "shards", shallow, ())
    whole, shards = (find_checkpoint(tmp_path / name) for name in ("whole", "shards"))
    for name, weight in load_model(whole).state_dict().items():
        assert torch.equal(load_model(shards).state_dict()[name], weight)
    growth = Growth(operator="interpolate", moments="copy")
    for name, checkpoint in (("whole", whole), ("shards", shards)):
        export_hugging_face(checkpoint, tmp_path / f"{name} exported")
        grow_checkpoint(checkpoint, tmp_path / f"{name} grown", growth=growth, depth=5)
    for file in ("exported/model.safetensors", "grown/weights.safetensors", "grown/moments.safetensors"):
        assert (tmp_path / f"whole {file}").read_bytes() == (tmp_path / f"shards {file}").read_bytes()
    assert shards.sha256 != whole.sha256
    (tmp_path / "shards" / "shard-00002-of-00002.safetensors").write_bytes(b"")
    assert "shard-00002" in str(_problem(tmp_path / "shards"))


def _problem(folder: Path) -> ValueError:
    try:
        find_checkpoint(folder)
    except ValueError as error:
        return error
    raise AssertionError("the damage was not found")

"""`deepen grow`: checkpoints of both kinds, as their user grows them."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.data.tokenizers import make_tokenizer
from deepen.interop.checkpoint import DeepenCheckpoint
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.history import Grown
from deepen.interop.load import load_state
from deepen.model.config import ModelConfig
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import TrainState, initial_state
from hugging_face_folders import write_large_checkpoint
from processes import wait_until


def trained(model: ModelConfig) -> TrainState:
    """A state with moments for every weight."""
    fresh = initial_state(model, model.depth, seed=0).weights
    draw = torch.Generator().manual_seed(0)
    noise = {name: 0.1 * torch.randn(weight.shape, generator=draw) for name, weight in fresh.items()}
    return TrainState(
        weights={name: weight + noise[name] for name, weight in fresh.items()},
        moments={name: {"exp_avg": each} for name, each in noise.items()},
        depth=model.depth,
        seed=0,
    )


@pytest.fixture
def ours(model: ModelConfig, dataset: Dataset, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "ours", trained(model), model, (), dataset.folder)
    return tmp_path / "ours"


def test_growth_changes_a_model_whose_branches_are_divided_by_the_depth_whatever_the_operator(
    model: ModelConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaled = replace(model, parametrization="depth-mup")
    write_checkpoint(tmp_path / "ours", trained(scaled), scaled, (), dataset.folder)
    grow = ["grow", str(tmp_path / "ours"), "--depth", "24", "--operator", "copy-zero", "--verify"]
    assert main([*grow, "-o", str(tmp_path / "out")]) == 0
    assert "differ" in capsys.readouterr().out
    assert find_checkpoint(tmp_path / "out").model == replace(scaled, depth=24)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A checkpoint of a model that nobody knows, whose blocks form one numbered list."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "mine", "num_hidden_layers": 3, "vocab_size": 256})
    )
    inside = {f"model.layers.{block}.attn.o_proj.weight": torch.full((4, 4), block + 1.0) for block in range(3)}
    save_file({"embed.weight": torch.ones(256, 4), **inside}, folder / "model.safetensors")
    make_tokenizer("byte").write(folder)
    return folder


def test_a_checkpoint_of_deepens_grows_with_its_optimizer_state(
    ours: Path, model: ModelConfig, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, depth = tmp_path / "out", model.depth + 2
    command = ["grow", str(ours), "--depth", str(depth), "--operator", "copy-zero", "-o", str(out), "--verify"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"{depth} blocks instead of {model.depth}" in printed
    assert "copy of block 1, made the identity" in printed.replace(f"block {model.depth - 1},", "block 1,")
    assert "(+0.0000); the logits are equal" in printed
    assert printed.endswith(f"Continue training: deepen train RECIPE --from {out}\n")
    grown = find_checkpoint(out)
    assert isinstance(grown, DeepenCheckpoint) and grown.model.depth == depth and grown.tokenizer == out
    assert isinstance(grown.history[-1], Grown) and grown.history[-1].operator == "copy-zero"
    before, after = load_state(find_checkpoint(ours)), load_state(grown)
    new = f"blocks.{depth - 1}.mlp.up.weight"
    old = f"blocks.{model.depth - 1}.mlp.up.weight"
    assert torch.equal(after.weights[new], before.weights[old])
    assert torch.equal(after.moments[new]["exp_avg"], before.moments[old]["exp_avg"])


def test_moments_of_new_blocks_follow_the_policy(ours: Path, model: ModelConfig, tmp_path: Path):
    layout = f"0-{model.depth - 1},{model.depth - 1}"
    assert main(["grow", str(ours), "--layout", layout, "--moments", "keep", "-o", str(tmp_path / "out")]) == 0
    moments = load_state(find_checkpoint(tmp_path / "out")).moments
    assert "blocks.0.mlp.up.weight" in moments and f"blocks.{model.depth}.mlp.up.weight" not in moments


def test_a_folder_of_any_decoder_grows_and_every_block_is_listed(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("transformers")
    out = tmp_path / "out"
    assert main(["grow", str(theirs), "--layout", "0-1,0-1,2", "-o", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["new_blocks"] == [2, 3] and printed["depth"] == 5 and printed["old_depth"] == 3
    assert [block["source"] for block in printed["blocks"]] == [0, 1, 0, 1, 2]
    tensors = load_file(out / "model.safetensors")
    assert [tensors[f"model.layers.{block}.attn.o_proj.weight"][0, 0].item() for block in range(5)] == [
        1,
        2,
        1,
        2,
        3,
    ]
    assert main(["grow", str(theirs), "--depth", "5", "--operator", "identity", "-o", str(tmp_path / "two")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["0-2", "blocks", "0-2", "as", "before"] for line in lines)
    assert any(line.split() == ["3-4", "new", "fresh,", "made", "the", "identity"] for line in lines)
    assert lines[-1] == f'Load it: AutoModelForCausalLM.from_pretrained("{tmp_path / "two"}")'


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_mixtures_scales_and_noise_are_listed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
):
    if kind == "theirs":
        pytest.importorskip("transformers")
    folder: Path = request.getfixturevalue(kind)
    old = 3 if kind == "theirs" else request.getfixturevalue("model").depth
    out = tmp_path / "out"
    options = ["--operator", "interpolate", "--noise", "0.01", "--residual-scale", "0.5"]
    assert main(["grow", str(folder), "--depth", str(2 * old), *options, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["1", "new", "50%", "of", "block", "0", "and", "50%", "of", "1,", "output", "×", "0.5"] in lines
    assert f"{2 * old - 1} new copy of block {old - 1}, output × 0.5".split() in lines
    assert "Noise was added to the matrices of copies: 0.01 of each matrix's root mean square" in printed
    made = "interpolate, outputs of copies × 0.5, noise 0.01"
    if kind == "theirs":
        assert f"with operator {made}:" in (out / "README.md").read_text()
    else:
        checkpoint = find_checkpoint(out)
        assert isinstance(checkpoint, DeepenCheckpoint)
        grown = checkpoint.history[-1]
        assert isinstance(grown, Grown) and grown.operator == made


@pytest.mark.parametrize(
    ("layout", "notes"),
    [
        ("0-1,0-2", []),
        ("1-2,1-2", ["Block 0 is left out"]),
        ("2,2,2,2", ["Blocks 0-1 are left out"]),
        ("1-2,0-2", ["The old blocks are in another order: 1-2,0"]),
        ("2,1,2,1", ["Block 0 is left out", "The old blocks are in another order: 2,1"]),
    ],
)
def test_old_blocks_that_are_missing_or_in_another_order_are_named(
    theirs: Path, layout: str, notes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["grow", str(theirs), "--layout", layout, "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "left out" in line or "order" in line] == notes


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "CKPT FOLDER is not a checkpoint"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text("{}"), "CKPT cannot be grown: its config.json has no"),
        (lambda folder: (folder / "model.safetensors").unlink(), "CKPT FOLDER has no weights"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "CKPT FOLDER has only pickled weights (pytorch_model.bin)",
        ),
        (lambda folder: os.truncate(folder / "model.safetensors", 900), "model.safetensors is damaged"),
    ],
)
def test_a_bad_checkpoint_is_refused_in_one_line_and_nothing_is_written(
    theirs: Path, damage: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert callable(damage)
    damage(theirs)
    assert main(["grow", str(theirs), "--depth", "5", "-o", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line.replace(str(theirs), "FOLDER")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_hugging_face_checkpoint_has_no_moments_to_choose(theirs: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["grow", str(theirs), "--depth", "5", "-o", "x", "--moments", "keep"]) == 2
    assert "--moments: a checkpoint in Hugging Face's format has no optimizer state" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_writes_leaves_nothing(which: signal.Signals, tmp_path: Path):
    write_large_checkpoint(tmp_path / "large")
    command = [sys.executable, "-m", "deepen", "grow", "large", "--depth", "20", "-o", "out"]
    growing = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(list((tmp_path / ".out.unfinished").glob("*.safetensors"))), growing)
    growing.send_signal(which)
    _, errors = growing.communicate(timeout=60)
    assert growing.returncode == 130 and errors.splitlines()[-1] == "stopped; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == ["large"]

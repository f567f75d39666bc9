"""`deepen sample` from a checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.model.config import ModelConfig
from deepen.train.state import initial_state


@pytest.fixture
def folder(model: ModelConfig, dataset: Dataset, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "made", initial_state(model, 12, seed=0), model, (), dataset.folder)
    return tmp_path / "made"


def test_each_prompt_is_continued_and_repeated_alike(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sample", str(folder), "--prompt", "My fellow citizens", "--prompt", "We", "--samples", "2"]
    assert main([*command, "--tokens", "20", "--json"]) == 0
    samples = json.loads(capsys.readouterr().out)
    assert [sample["prompt"] for sample in samples] == ["My fellow citizens"] * 2 + ["We"] * 2
    assert samples[0]["text"] != samples[1]["text"]
    assert main([*command, "--tokens", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("My fellow citizens") and "\x1b" not in printed
    assert main(["sample", str(folder), "--tokens", "5", "--temperature", "0"]) == 0
    assert capsys.readouterr().out.strip()


def test_a_checkpoint_without_a_tokenizer_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tokenizer.json").unlink()
    assert main(["sample", str(folder)]) == 2
    assert "has no tokenizer: put its tokenizer.json there" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(folder / "state.json", folder / "weights.safetensors")
    assert main(["sample", str(folder)]) == 2
    assert "error: CKPT cannot be used:" in capsys.readouterr().err

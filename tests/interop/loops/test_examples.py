"""docs/examples: growth in a bare loop, in Hugging Face's Trainer and in Lightning Fabric."""

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

pytestmark = pytest.mark.slow


def load(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


def equal_weights(a: nn.Module, b: nn.Module) -> bool:
    weights, others = a.state_dict(), b.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def losses(printed: str) -> list[float]:
    return [float(line.rpartition(" ")[2]) for line in printed.splitlines() if " loss " in line]


def test_the_bare_loop_grows_and_learns(capsys: pytest.CaptureFixture[str]):
    model = load("own_loop.py")["main"]()
    printed = capsys.readouterr().out
    assert len(model.layers) == 4
    assert losses(printed)[0] > 5.4 and losses(printed)[-1] < 2.8
    assert "4 blocks after 9.26e+10 FLOPs, 77% of four blocks from the start" in printed


def train_plainly(example: dict[str, Any], phases: list[Any], data: torch.Tensor) -> nn.Module:
    """What the example with the Trainer does, without the Trainer."""
    model = example["make_model"](depth=2)
    optimizer = example["make_optimizer"](model)
    for phase in phases:
        if phase.growth is not None:
            deeper = example["make_model"](depth=phase.depth)
            example["grow_model"](model, deeper, phase.growth)
            deeper_optimizer = example["make_optimizer"](deeper)
            example["grow_optimizer"](optimizer, deeper_optimizer, model, deeper, phase.growth)
            model, optimizer = deeper, deeper_optimizer
        for step in range(phase.steps):
            position = phase.start + step * phase.batch_tokens
            ids = data[position : position + phase.batch_tokens].view(-1, phase.context)
            optimizer.zero_grad()
            # The Trainer divides the sum of the losses by all labels, those without a target too.
            model(input_ids=ids, labels=ids, num_items_in_batch=ids.numel()).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = phase.lr(step)
            optimizer.step()
    return model


def test_trainer_carries_the_optimizer_through_growth_and_continues_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same weights as a plain loop; again the same when the second phase has to be trained once more."""
    example, seen = load("hugging_face_trainer.py"), []
    train_phase: Callable[..., None] = example["train_phase"]

    def remember(phase: Any, model: nn.Module, optimizer: Any, data: torch.Tensor, folder: Path) -> None:
        seen.append((phase, data))
        train_phase(phase, model, optimizer, data, folder)

    example["main"].__globals__["train_phase"] = remember
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    whole = example["main"]()
    torch.manual_seed(0)
    plain = train_plainly(example, [phase for phase, _ in seen], seen[0][1])
    for (name, weight), (_, expected) in zip(whole.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-5, msg=name)

    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    shutil.copytree(tmp_path / "whole" / "grown-gpt2" / "two-blocks", "grown-gpt2/two-blocks")
    assert equal_weights(example["main"](), whole)


def test_fabric_gives_the_same_weights_on_one_device_and_on_two(tmp_path: Path):
    script = tmp_path / "two.py"
    script.write_text(
        "import runpy, sys, torch\n"
        f"example = runpy.run_path({str(EXAMPLES / 'lightning_fabric_loop.py')!r})\n"
        "if __name__ == '__main__':\n"
        "    devices = int(sys.argv[1])\n"
        "    model = example['main'](accelerator='cpu', devices=devices, strategy='ddp')\n"
        "    torch.save(model.state_dict(), f'{devices}.pt')\n"
    )
    for devices in ("1", "2"):
        done = subprocess.run([sys.executable, script, devices], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name) for name in ("1.pt", "2.pt"))
    assert len({name.split(".")[2] for name in one if name.startswith("model.layers.")}) == 4
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    assert losses(done.stdout)[0] > 5.4 and losses(done.stdout)[-1] < 2.8

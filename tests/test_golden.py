"""Golden runs: the loss of every step of a short run per recipe. A change of numerics must change these files.

`DEEPEN_RENEW=1 pytest tests/test_golden.py` rewrites them; explain in the commit why the numbers changed.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.rate import WSD
from deepen.schedule.recipes import RECIPES
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.start import Start
from deepen.study.define.study import Arm, Study
from deepen.study.store.checkpoints import find_checkpoint
from deepen.study.store.study_folder import Store
from deepen.train.optim.spec import OPTIMIZERS
from deepen.train.settings import TrainSettings

GOLDEN = Path(__file__).parent / "golden"
OPTIONS: dict[str, dict[str, Any]] = {"two-phase": {"stages": 2}, "staged": {"stages": 2}}
CASES = [*((recipe, "gpt2", "adamw") for recipe in RECIPES), ("two-phase", "llama", "adamw")]
CASES += [("one-shot", "gpt2", "muon")]
STEPS, BATCH_TOKENS, CONTEXT = 48, 64, 16

TOLERANCE = {"adamw": 1e-4, "muon": 1e-2}
"""Relative tolerance if torch, the CPU's instructions or the threads differ: kernels sum in another order; Muon
orthogonalizes in bf16."""


@pytest.mark.parametrize(("recipe", "family", "optimizer"), CASES)
def test_the_losses_of_a_short_run_are_the_golden_ones(
    recipe: str,
    family: str,
    optimizer: str,
    model: ModelConfig,
    llama: ModelConfig,
    dataset: Dataset,
    run_study: Callable[..., dict[str, Any]],
    tmp_path: Path,
):
    study = Study(
        name="golden",
        model=replace(model if family == "gpt2" else llama, depth=4, width=16, init_std=0.1),
        tokens=STEPS * BATCH_TOKENS,
        batch_tokens=BATCH_TOKENS,
        context=CONTEXT,
        arms=(Arm(name=recipe, recipe=recipe, options=OPTIONS.get(recipe, {})),),
        baseline=recipe,
        anchors=(1.0,),
        accountings=("flops",),
        evaluation=Evaluation(every_tokens=STEPS * BATCH_TOKENS, validation_tokens=512),
        rate=WSD(peak=1e-2, warmup_tokens=3 * BATCH_TOKENS),
        settings=TrainSettings(optimizer=OPTIMIZERS[optimizer]()),
        data=str(dataset.folder),
    )
    if RECIPES[recipe].needs_checkpoint:
        small = replace(study.model, depth=2)
        arms = (Arm(name=recipe, recipe="full"),)
        run_study(replace(study, model=small, arms=arms, tokens=8 * BATCH_TOKENS), tmp_path / "start")
        study = replace(study, start=Start.at(find_checkpoint(tmp_path / "start")))
    out = tmp_path / "run"
    [arm] = run_study(study, out)["arms"]
    lines = [line for key in arm["segments"] for line in Store(out).segment(key).lines("metrics")]
    assert not any("spike" in line for line in lines)
    now = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "data_fingerprint": dataset.fingerprint,
        "val_loss": arm["curve"][-1]["val_loss"],
        "losses": [line["loss"] for line in lines],
    }
    file = GOLDEN / f"{'-'.join([recipe, *({family, optimizer} - {'gpt2', 'adamw'})])}.json"
    if os.environ.get("DEEPEN_RENEW"):
        file.write_text(json.dumps(now, indent=1) + "\n")
        return
    golden = json.loads(file.read_text())
    assert now["data_fingerprint"] == golden["data_fingerprint"], (
        "the tokenized speeches changed, not the numerics"
    )
    if all(now[key] == golden[key] for key in ("torch", "cpu_capability", "threads")):
        assert now == golden  # to the bit: JSON keeps every digit of a float
    else:
        assert now["losses"] == pytest.approx(golden["losses"], rel=TOLERANCE[optimizer])
        assert now["val_loss"] == pytest.approx(golden["val_loss"], rel=TOLERANCE[optimizer])

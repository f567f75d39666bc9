from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from leftovers import read_files
from workers import BATCH, STEPS


@pytest.fixture
def study(make_study: Callable[..., Study], model: ModelConfig) -> Study:
    """Three segments: one alone, and one that starts from the grown state of another."""
    return make_study(
        model=replace(model, depth=2),
        tokens=STEPS * BATCH,
        arms=(
            Arm(name="full", recipe="full"),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 1}),
        ),
        anchors=(1.0,),
        accountings=("flops",),
        rate=Constant(peak=1e-3),
        evaluation=Evaluation(every_tokens=10 * BATCH, validation_tokens=64),
    )


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    return {}


@pytest.fixture
def undisturbed(
    reference: dict[str, Any], study: Study, run_study: Callable[..., Any], tmp_path: Path
) -> dict[str, Any]:
    """The files of an undisturbed run in one process, trained once per session."""
    if not reference:
        run_study(study, tmp_path / "undisturbed")
        reference.update(read_files(tmp_path / "undisturbed"))
    return reference

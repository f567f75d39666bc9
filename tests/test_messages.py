"""Warnings and notes: one line each, the same in every process."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from deepen.messages import print_messages
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.study.define.executor import local
from deepen.study.define.study import Arm, Study
from short_runs import NOISE_FROM, STEPS


def test_a_warning_has_a_prefix_and_a_note_has_none():
    lines: list[str] = []
    print_messages(lines.append)
    logger = logging.getLogger("deepen.anything")
    logger.warning("it is %d", 3)
    logger.info("by the way")
    logger.debug("in detail")
    assert lines == ["warning: it is 3", "by the way"]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_process_prints_a_warning_as_this_process_does(
    jobs: int, make_study: Callable[..., Study], run_study: Callable[..., Any], model: ModelConfig,
    noisy_data: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str],
):  # fmt: skip
    study = make_study(
        model=replace(model, depth=2, width=16), tokens=STEPS * 32, anchors=(1.0,),
        arms=(Arm(name="full", recipe="full"),), rate=Constant(peak=3e-2), data=str(noisy_data.folder),
    )  # fmt: skip
    run_study(study, tmp_path / "study", executor=local(jobs))
    [log] = (tmp_path / "study").glob("segments/*/metrics.jsonl")
    assert [s["step"] for s in map(json.loads, log.read_text().splitlines()) if "spike" in s] == [NOISE_FROM + 1]
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: loss ") and f" is a spike at step {NOISE_FROM + 1} " in line

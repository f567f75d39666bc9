"""The choice of the faster precision."""

import re
from dataclasses import replace

import pytest
import torch

from deepen.bench.precision import choose_gpu_precision, faster_precision, warn_of_fp32
from deepen.model.config import ModelConfig
from deepen.train.settings import PRECISIONS


def test_the_faster_precision_is_one_of_the_two_and_the_other_takes_at_least_as_long(model: ModelConfig):
    precision, reason = faster_precision(replace(model, depth=1), 16, torch.device("cpu"))
    words = re.fullmatch(r"the other would take (\d+\.\d\d) times as long here", reason)
    assert precision in PRECISIONS and words is not None and 1 <= float(words[1]) < 1000


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_trains_in_bf16_without_a_measurement_unless_it_only_emulates_it(has_bf16: bool, precision: str):
    assert choose_gpu_precision(has_bf16=has_bf16).precision == precision


def test_fp32_on_a_gpu_is_warned_of_and_nothing_else():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert "a precision of bf16" in warn_of_fp32("fp32", gpu)
    assert not warn_of_fp32("bf16", gpu) and not warn_of_fp32("fp32", cpu)

"""The choice of the faster precision."""

from dataclasses import replace

import pytest
import torch

from deepen.bench.precision import faster_precision
from deepen.model.config import ModelConfig
from deepen.train.settings import PRECISIONS


def test_the_faster_precision_is_one_of_the_two_and_the_other_takes_at_least_as_long(model: ModelConfig):
    precision, factor = faster_precision(replace(model, depth=1), 16, torch.device("cpu"))
    assert precision in PRECISIONS and 1 <= factor < 1000


def test_a_gpu_trains_in_bf16_without_a_measurement(model: ModelConfig):
    assert faster_precision(model, 16, torch.device("cuda")) == ("bf16", pytest.approx(float("inf")))

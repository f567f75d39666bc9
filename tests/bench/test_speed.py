"""The speed of training, for an estimate before a long run."""

from dataclasses import replace

import pytest

from deepen.bench.speed import measure_speed
from deepen.model.presets import PRESETS
from deepen.study.define.presets import quickstart
from deepen.train.device import pick_device


def test_a_step_of_the_model_is_timed():
    speed = measure_speed(quickstart(), threads=1)
    assert speed is not None and not speed.is_peak and speed.flops_per_second > 0


@pytest.mark.skipif(pick_device().type != "cpu", reason="a GPU takes a step of any model")
def test_of_a_large_model_only_matrix_products_are_timed():
    large = replace(quickstart(), model=replace(PRESETS["llama-1b"], context=64))
    speed = measure_speed(large, threads=1)
    assert speed is not None and speed.is_peak and speed.flops_per_second > 0

"""The micro-batch that a segment's settings get where the device is known."""

from dataclasses import replace

import pytest
import torch

from deepen.bench.workload import Workload
from deepen.model.presets import PRESETS
from deepen.train.micro_batch import free_gpu_bytes, with_micro_batch
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings(precision="bf16")


@pytest.fixture(scope="module")
def segment() -> Segment:
    """Training all of GPT-2 124M on 512 sequences a step."""
    workload = Workload(
        model=PRESETS["gpt2-124m"], context=1024, batch_tokens=512 * 1024, settings=SETTINGS, device=CPU
    )
    return workload.segment(workload.kinds()[0], 1)


@pytest.mark.parametrize(("gigabytes", "devices", "sequences"), [(80, 1, 64), (24, 1, 16), (80, 16, 32)])
def test_a_gpus_memory_decides_the_micro_batch(gigabytes: int, devices: int, sequences: int, segment: Segment):
    chosen = with_micro_batch(SETTINGS, segment, PRESETS["gpt2-124m"], gigabytes * 10**9, devices=devices)
    assert chosen == replace(SETTINGS, micro_batch_tokens=sequences * 1024)


def test_what_is_asked_for_is_taken_and_a_cpu_changes_nothing(segment: Segment):
    asked = replace(SETTINGS, micro_batch_tokens=2048)
    assert with_micro_batch(asked, segment, PRESETS["gpt2-124m"], 80 * 10**9) == asked
    assert free_gpu_bytes(CPU) == 0
    assert with_micro_batch(SETTINGS, segment, PRESETS["gpt2-124m"], 0) == SETTINGS

"""What a segment's settings become where the device is known."""

from dataclasses import replace

import pytest
import torch

from deepen.bench.workload import Workload
from deepen.compute.memory_settings import Division
from deepen.model.presets import PRESETS
from deepen.train.fit import fit_settings
from deepen.train.gpu_memory import own_free_bytes
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
    chosen = fit_settings(SETTINGS, segment, PRESETS["gpt2-124m"], gigabytes * 10**9, Division(devices=devices))
    assert chosen == replace(SETTINGS, micro_batch_tokens=sequences * 1024)


def test_blocks_run_forward_twice_only_where_a_step_would_not_fit_otherwise(
    segment: Segment, caplog: pytest.LogCaptureFixture
):
    model, asked = PRESETS["gpt2-124m"], replace(SETTINGS, micro_batch_tokens=32 * 1024)
    caplog.set_level("INFO")
    assert fit_settings(asked, segment, model, 20 * 10**9) == asked and not caplog.messages
    small = fit_settings(asked, segment, model, 8 * 10**9)
    assert small == replace(asked, activation_checkpointing=True)
    assert caplog.messages == [
        "activation checkpointing (depth 12 · all): without it a step would not fit into the GPU's memory"
    ]
    graphs = fit_settings(replace(asked, compile="cuda-graphs"), segment, model, 8 * 10**9)
    assert graphs == replace(small, compile="yes") and "no CUDA graphs (depth 12" in caplog.messages[-1]
    never = replace(asked, checkpoint_to_fit=False)
    assert fit_settings(never, segment, model, 8 * 10**9) == never
    assert fit_settings(asked, segment, model, 10**9) == asked  # does not fit in either case


@pytest.mark.parametrize(("gigabytes", "once"), [(40, True), (9, False)])
def test_sharded_gradients_are_sent_once_where_memory_allows(gigabytes: int, once: bool, segment: Segment):
    model, asked = PRESETS["gpt2-124m"], replace(SETTINGS, micro_batch_tokens=16 * 1024)
    chosen = fit_settings(asked, segment, model, gigabytes * 10**9, Division(devices=8, sharded=True))
    assert chosen == replace(asked, reduce_once=once)
    never = replace(asked, reduce_once=False)
    assert fit_settings(never, segment, model, gigabytes * 10**9, Division(devices=8, sharded=True)) == never


def test_what_is_asked_for_is_taken_and_a_cpu_changes_nothing(segment: Segment):
    asked = replace(SETTINGS, micro_batch_tokens=2048)
    assert fit_settings(asked, segment, PRESETS["gpt2-124m"], 80 * 10**9) == asked
    assert own_free_bytes(CPU) == 0
    assert fit_settings(SETTINGS, segment, PRESETS["gpt2-124m"], 0) == SETTINGS

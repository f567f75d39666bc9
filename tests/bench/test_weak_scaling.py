"""Invariants of the predicted time of a step on many GPUs (`benchmarks/weak_scaling.py`)."""

from itertools import pairwise

import pytest
from benchmarks.weak_scaling_step import (
    Group,
    Settings,
    fastest_placement,
    fastest_step,
    fewest_devices,
    placements,
    step_time,
)

from deepen.compute.devices import DEVICES, DEVICES_PER_NODE, Fleet
from deepen.compute.ledger import Ledger
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import TrainedParts

FLEET = Fleet(device=DEVICES["h100"], mfu=0.4)
SETTINGS = [Settings(fleet=FLEET, reduce_once=False), Settings(fleet=FLEET, reduce_once=True)]
MODELS = [PRESETS["llama-7b"], PRESETS["llama-70b"]]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_one_gpu_only_computes(model):
    for placement in placements(1):
        step = step_time(model, 4, placement, 4 * model.context, SETTINGS[0], model.context, False)
        assert step.seconds == pytest.approx(step.compute_seconds, rel=1e-12)


@pytest.mark.parametrize("settings", SETTINGS, ids=("each micro-batch", "once a step"))
@pytest.mark.parametrize("checkpointing", (False, True))
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_step_takes_the_seconds_of_its_flops_or_more(model, checkpointing, settings):
    tokens = 2 * model.context
    ledger = Ledger(model=model, activation_checkpointing=checkpointing)
    for depth in (1, model.depth):
        flops = tokens * ledger.flops_per_token(TrainedParts.all(depth), model.context)
        for devices in (8, 64, 1024):
            for placement in placements(devices):
                step = step_time(model, depth, placement, tokens, settings, model.context, checkpointing)
                assert step.compute_seconds == pytest.approx(FLEET.seconds(flops))
                assert step.needed_seconds <= step.compute_seconds * (1 + 1e-12) < step.seconds


@pytest.mark.parametrize("which", range(3), ids=[placement.name for placement in placements(DEVICES_PER_NODE)])
def test_the_same_work_on_each_gpu_takes_longer_on_more_of_them(which):
    model = PRESETS["llama-7b"]
    seconds = [
        step_time(model, 32, placements(devices)[which], 4096, SETTINGS[0], 4096, False).seconds
        for devices in (1, 2, 8, 16, 64, 256, 1024)
    ]
    assert all(fewer <= more for fewer, more in pairwise(seconds))


def test_in_one_node_sharding_over_all_and_within_the_node_are_the_same():
    _, everywhere, in_a_node = placements(DEVICES_PER_NODE)
    steps = [
        fastest_step(PRESETS["llama-7b"], 32, placement, 8192, SETTINGS[0])
        for placement in (everywhere, in_a_node)
    ]
    assert steps[0] is not None and steps[0] == steps[1]


@pytest.mark.parametrize(
    ("size", "reported"), ((134_217_728, 377.2e-6), (1_073_741_824, 2689.3e-6), (8_589_934_592, 20754e-6))
)
def test_a_reduce_scatter_takes_what_was_reported_for_eight_h100s(size, reported):
    """Measured with nccl-tests: github.com/NVIDIA/nccl/issues/1047, ring."""
    assert Group(devices=8, nodes=1).gather_seconds(size) == pytest.approx(reported, rel=0.1)


def test_a_shallow_model_takes_fewer_gpus_and_fewer_gpu_hours():
    model, tokens = PRESETS["llama-70b"], 4 * PRESETS["llama-70b"].context
    assert fewest_devices(model, 20, SETTINGS[0]) < fewest_devices(model, 80, SETTINGS[0])
    (_, shallow), (_, deep) = (fastest_placement(model, depth, 256, tokens, SETTINGS[0]) for depth in (20, 80))
    assert shallow.seconds < deep.seconds / 3

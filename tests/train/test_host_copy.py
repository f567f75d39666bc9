"""Copies in the CPU's memory: how they are queued, on a simulated GPU, and their values on a CPU."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deepen.train.host_copy import copy_to_host
from queues import Device

NUMBERS = 1000


def copy_from_gpu(room_bytes: float) -> tuple[list[str], int]:
    """Copy four tensors, one of the CPU; returns what was queued, and how much of that an event waited for."""
    with FakeTensorMode(), Device() as device:
        tensors = {name: torch.empty(NUMBERS, device="cuda") for name in ("weight", "exp_avg", "exp_avg_sq")}
        copies = copy_to_host({**tensors, "step": torch.zeros(())}, room_bytes, device.event)
        assert {copy.device.type for copy in copies.values()} == {"cpu"}
    return device.queue, device.done


def test_a_gpus_tensors_are_all_queued_and_waited_for_once():
    queue, done = copy_from_gpu(room_bytes=3 * 2 * 4 * NUMBERS + 8)
    assert queue == ["copy", "copy", "copy", "copy, waited for", "event"] and done == len(queue)


def test_without_room_for_pinned_memory_each_copy_is_waited_for():
    queue, _ = copy_from_gpu(room_bytes=4 * NUMBERS)
    assert queue == 4 * ["copy, waited for"]


def test_tensors_that_exceed_the_room_are_waited_for_and_the_others_are_queued():
    queue, done = copy_from_gpu(room_bytes=2 * 2 * 4 * NUMBERS)
    assert queue == ["copy", "copy", "copy, waited for", "copy, waited for", "event"] and done == len(queue)


def test_copies_of_a_cpus_tensors_are_independent_of_them():
    tensors = {"weight": torch.ones(3, requires_grad=True), "step": torch.tensor(2.0)}
    copies = copy_to_host(tensors)
    with torch.no_grad():
        tensors["weight"].zero_()
    assert copies["weight"].tolist() == [1, 1, 1] and not copies["weight"].requires_grad
    assert copies["step"].item() == 2 and not copies["weight"].is_pinned()

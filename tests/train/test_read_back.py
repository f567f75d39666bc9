"""When the numbers of a step are read back: on a simulated device, whose queue is a list of what was queued."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deepen.train.read_back import ImmediateReadBack, LateReadBack, Measured, ReadBack, Step
from queues import Device


def test_a_late_read_waits_for_its_own_step_and_for_nothing_queued_after_it():
    checked = []
    with FakeTensorMode(), Device() as device:  # fake tensors: a GPU's without a GPU

        def update(step: Step, found_inf: torch.Tensor | None = None) -> None:
            assert found_inf is not None and found_inf.device.type == "cuda"
            device.queue.append(f"update {step.lr:.0f}")

        def check(step: Step) -> Measured:
            assert step.numbers.device.type == "cpu"
            done, waiting = device.queue[: device.done], device.queue[device.done :]
            assert done[-3:] == [f"update {step.lr:.0f}", "copy", "event"]
            checked.append((step.lr, waiting))
            return {}

        read_back = LateReadBack(update, check, lambda measured: None, device.event)
        for number in (1, 2, 3):
            device.queue.append(f"step {number}")
            read_back.take(Step(lr=number, numbers=torch.ones(2, device="cuda")))
        read_back.finish()
    assert checked == [
        (1, ["step 2", "update 2", "copy", "event"]),
        (2, ["step 3", "update 3", "copy", "event"]),
        (3, []),
    ]


@pytest.mark.parametrize(("kind", "reads_before"), [(ImmediateReadBack, [0, 1, 2]), (LateReadBack, [0, 0, 1])])
def test_each_step_is_checked_and_recorded_once_and_in_order(kind: type[ReadBack], reads_before: list[int]):
    """How many steps are recorded before each update: all earlier ones, or all but the latest."""
    recorded, counts = [], []

    def update(step: Step, found_inf: torch.Tensor | None = None) -> None:
        counts.append(len(recorded))

    read_back = kind(update, lambda step: {"loss": step.numbers[0].item()}, recorded.append)
    for number in (1.0, 2.0, 3.0):
        read_back.take(Step(lr=1.0, numbers=torch.tensor([number, 0.0])))
    read_back.finish()
    assert recorded == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}] and counts == reads_before

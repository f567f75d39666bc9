"""The time of each kind of step, and multipliers in measured seconds."""

import pytest

from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.trainable import TrainedParts
from deepen.study.results.schema import MarkResult
from deepen.study.results.seconds import seconds_factor
from deepen.study.results.step_times import StepTimes, TimedSegment, step_seconds
from deepen.train.segment import Segment

BATCH = 32


def segment(depth: int, steps: int, start: int = 0, batch: int = BATCH) -> Segment:
    return Segment(
        depth=depth,
        trains=TrainedParts.all(depth),
        start=start,
        end=start + steps * batch,
        batch_tokens=batch,
        context=16,
        rate=RatePiece.constant(start=0, lr=0.01),
        growth=None,
        reset_moments=False,
        flops_per_step=depth,
        label=f"{depth} blocks",
    )


def timed(depth: int, *seconds: float, device: str = "cpu") -> TimedSegment:
    return TimedSegment(segment(depth, len(seconds)), seconds, device)


def mark(flops: float, steady_seconds: float | None) -> MarkResult:
    return MarkResult.from_json({"flops": flops, "steady_seconds": steady_seconds})


def test_a_run_takes_its_steps_at_the_time_of_their_kind():
    times = StepTimes([timed(6, 9, 2, 2, 2), timed(12, 9, 3, 3, 3)])
    assert times.steady_seconds([segment(6, 10), segment(12, 20, start=320)]) == 10 * 2 + 20 * 3
    assert times.steady_seconds([segment(6, 10, batch=64)]) is None


def test_a_busy_stretch_shorter_than_half_of_the_steps_changes_nothing():
    quiet = StepTimes([timed(6, 2, *[2.0] * 30), timed(6, 2, *[2.0] * 30)])
    busy = StepTimes([timed(6, 2, *[2.0] * 30), timed(6, 50, *[50.0] * 29, 2.0)])
    run = [segment(6, 100)]
    assert busy.steady_seconds(run) == quiet.steady_seconds(run) == 200


def test_first_steps_count_only_where_there_are_no_others():
    assert StepTimes([timed(6, 90, 1), timed(6, 95)]).steady_seconds([segment(6, 1)]) == 1
    assert StepTimes([timed(6, 90), timed(6, 92)]).steady_seconds([segment(6, 1)]) == 91


@pytest.mark.parametrize("devices", [("gpu", "cpu"), ("gpu", ""), ("", "")])
def test_steps_of_several_or_unknown_devices_have_no_time(devices: tuple[str, str]):
    times = StepTimes([timed(6, 1, 1, device=devices[0]), timed(12, 1, 1, device=devices[1])])
    assert times.device == "" and times.steady_seconds([segment(6, 1)]) is None


def test_the_spread_tells_a_quiet_machine_from_a_busy_one():
    quiet = [timed(6, *[2.0] * 40), timed(12, *[3.0] * 40)]
    busy = timed(12, 3.0, *[3.0, 6.0] * 20)
    assert StepTimes(quiet).spread == 1 and StepTimes([*quiet, busy, busy]).spread == pytest.approx(2)
    assert StepTimes([timed(6, *[2.0] * 5)]).spread is None


def test_seconds_of_steps_are_the_differences_of_the_log():
    lines = [{"tokens": 32, "seconds": 5.5}, {"tokens": 64, "seconds": 6.0}]
    assert step_seconds(lines, 4.0) == [1.5, 0.5] and step_seconds(lines, None) == [5.5, 0.5]
    assert step_seconds([], 4.0) == []


def test_a_multiplier_in_seconds_is_the_ratio_of_times_to_the_same_loss():
    """The baseline needs 1.2 times the arm's 1,000 FLOPs, 1,200, which take it 240 s; the arm took 300 s."""
    arm, baseline = [mark(1000, 300), mark(1000, 300)], [mark(1000, 200), mark(1000, 200)]
    factor = seconds_factor(arm, baseline)
    assert factor is not None and 1.2 * factor == pytest.approx(240 / 300)


def test_there_is_no_multiplier_in_seconds_if_one_time_is_unknown():
    assert seconds_factor([mark(10, None)], [mark(10, 1)]) is None
    assert seconds_factor([mark(10, 1)], [mark(10, 1), mark(10, None)]) is None
    assert seconds_factor([], [mark(10, 1)]) is None

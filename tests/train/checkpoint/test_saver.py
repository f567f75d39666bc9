"""Saving in the background: one save at a time, and no error is lost."""

import threading

import pytest

from deepen.train.checkpoint.saver import BackgroundSaver
from deepen.train.progress import Progress
from deepen.train.state import TrainState


def state_at(step: int) -> TrainState:
    return TrainState(weights={}, depth=0, seed=0, progress=Progress(step=step))


def disk_full(state: TrainState) -> None:
    raise OSError(f"disk full at step {state.progress.step}")


def test_one_state_is_written_at_a_time_and_in_order():
    writing, release, written = threading.Event(), threading.Event(), []

    def write(state: TrainState, log_bytes: int) -> None:
        writing.set()
        assert release.wait(30)
        written.append((state.progress.step, log_bytes))

    with BackgroundSaver(write) as saver:
        saver.save(state_at(1), 10)
        assert writing.wait(30)
        assert saver.busy and written == []  # the caller continues while the state is written
        second = threading.Thread(target=saver.save, args=(state_at(2), 20))
        second.start()  # waits for the first
        assert written == []
        release.set()
        second.join()
    assert written == [(1, 10), (2, 20)] and not saver.busy


def test_an_error_is_raised_by_the_next_call_and_only_once():
    saver = BackgroundSaver(disk_full)
    saver.save(state_at(1))
    with pytest.raises(OSError, match="disk full at step 1"):
        saver.save(state_at(2))
    saver.wait()
    saver.save(state_at(3))
    with pytest.raises(OSError, match="disk full at step 3"):
        saver.wait()


def test_leaving_the_saver_raises_the_error_of_its_last_save():
    with pytest.raises(OSError, match="disk full at step 1"), BackgroundSaver(disk_full) as saver:
        saver.save(state_at(1))


def test_an_error_in_training_is_raised_with_a_note_about_the_save():
    with pytest.raises(ArithmeticError) as raised, BackgroundSaver(disk_full) as saver:
        saver.save(state_at(1))
        raise ArithmeticError("loss is nan")
    assert raised.value.__notes__ == ["the save in progress failed too: disk full at step 1"]

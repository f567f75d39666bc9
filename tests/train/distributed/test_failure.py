"""The notes through which processes end together. Leader and follower share this process and one real store."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist

from deepen.train.distributed.failure import Ending, FailureNotes

PATIENCE_SECONDS = 30.0
"""Only a failing test waits this long."""


class Process:
    """A process's notes; instead of ending, it records its `Ending`."""

    def __init__(self, rank: int, store: dist.Store) -> None:
        self.ending: Ending | None = None
        self.ended = threading.Event()
        self.stop_requested = threading.Event()
        self.notes = FailureNotes(rank, 2, store, self._end)
        self.notes.on_stop = self.stop_requested.set

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self.notes.close()
        self.ended.set()


@contextmanager
def leader_and_follower() -> Iterator[tuple[Process, Process]]:
    store = dist.HashStore()
    leader, follower = Process(0, store), Process(1, store)
    leader.notes.watch()
    follower.notes.watch()
    try:
        yield leader, follower
    finally:
        leader.notes.close()
        follower.notes.close()


def test_a_live_follower_answers_the_roll_call():
    with leader_and_follower() as (leader, _):
        assert leader.notes.find_lost() == ""


def test_a_follower_that_fails_is_named_with_its_reason():
    with leader_and_follower() as (leader, follower):
        follower.notes.report_failure(torch.OutOfMemoryError("no memory\n  for activations"))
        assert leader.notes.find_lost() == "process 1 of 2 failed: no memory for activations"


@pytest.mark.slow
def test_a_dead_follower_is_found():
    with leader_and_follower() as (leader, follower):
        follower.notes.close()
        assert leader.notes.find_lost() == "process 1 of 2 died (killed, or out of memory?)"


@pytest.mark.slow
def test_rank_0_ends_the_others_with_its_own_status():
    with leader_and_follower() as (leader, follower):
        leader.notes.end_others(3)
        assert follower.ended.wait(PATIENCE_SECONDS) and follower.ending == Ending(status=3)
        assert leader.ending is None


def test_a_follower_that_is_asked_to_stop_passes_it_on():
    with leader_and_follower() as (leader, follower):
        follower.notes.request_stop()
        assert leader.stop_requested.wait(PATIENCE_SECONDS)
        assert leader.ending is follower.ending is None

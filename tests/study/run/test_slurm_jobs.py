"""Jobs of submitit as futures."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepen.study.run.executors.slurm import MAX_POLL_FAILURES, SubmititJobs
from processes import PATIENCE_SECONDS, wait_until


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Let child processes receive SIGINT, by which submitit cancels; in a shell's background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_job_of_a_cancelled_future_is_cancelled_although_it_is_not_polled_any_more(
    tmp_path: Path, default_sigint: None
):
    submitit = pytest.importorskip("submitit")
    with SubmititJobs(submitit.LocalExecutor(tmp_path / "slurm"), poll_seconds=600) as jobs:
        future = jobs.submit(time.sleep, 600)  # longer than any patience: it ends only if it is cancelled
        (job,) = jobs._jobs.values()
        wait_until(job.paths.stdout.exists, job._process)  # before, no process can receive the signal
        assert job._process.poll() is None and future.cancel()
    job._process.wait(PATIENCE_SECONDS)
    assert not job.paths.result_pickle.exists()


@pytest.mark.slow
@pytest.mark.parametrize("failures", [MAX_POLL_FAILURES - 1, MAX_POLL_FAILURES])
def test_a_job_whose_state_cannot_be_read_is_polled_again_before_it_counts_as_lost(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    local_jobs = pytest.importorskip("submitit.local.local")
    asked, done = iter(range(failures)), local_jobs.LocalJob.done

    def fails_at_first(job: Any) -> Any:
        if next(asked, None) is not None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return done(job)

    monkeypatch.setattr(local_jobs.LocalJob, "done", fails_at_first)
    with SubmititJobs(local_jobs.LocalExecutor(tmp_path / "slurm"), poll_seconds=0.01) as jobs:
        futures = [jobs.submit(os.path.basename, "a/b")]
        if failures < MAX_POLL_FAILURES:
            assert futures[0].result(60) == "b"
        else:
            assert isinstance(futures[0].exception(60), OSError)
            assert jobs.submit(os.path.basename, "a/c").result(60) == "c"

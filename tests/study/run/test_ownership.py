"""One writer in a segment's folder, even if other workers are alive."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Study
from deepen.study.run.job import Job, Outcome, make_jobs
from deepen.study.run.ownership import Claim, Session, SupersededError, stop_earlier_session
from deepen.study.run.worker_process import train_in_worker
from deepen.study.store.study_folder import Store
from workers import (
    BATCH,
    STEPS,
    assert_segments_are_undisturbed,
    every_step_is_kept,
    in_mid_segment,
    meanwhile,
)


@pytest.fixture
def job(study: Study, dataset: Dataset, tmp_path: Path) -> Job:
    """The first segment of the study, in a folder where a session can begin."""
    tree, store = compile_study(study, dataset.fingerprint), Store(tmp_path / "study")
    store.open(study, {})
    return next(iter(make_jobs(tree, dataset, store.folder).values()))


@pytest.mark.slow
def test_a_superseded_writer_stops_without_writing_and_the_next_attempt_ends_as_if_undisturbed(
    job: Job, undisturbed: dict[str, Any]
):
    session, ends = Session(job.folder), list[object]()

    def late() -> None:
        try:
            ends.append(train_in_worker(session.token, 1, job, 1))
        except SupersededError as error:
            ends.append(error)

    with meanwhile(late):
        next(in_mid_segment(job.folder))
        assert train_in_worker(session.token, 1, job, 2) == Outcome(finished=True)
    session.end()
    assert isinstance(ends[0], SupersededError)
    assert_segments_are_undisturbed(job.folder, undisturbed)


def test_an_attempt_is_claimed_once_and_only_the_latest_can_write(job: Job):
    session = Session(job.folder)

    def claim(attempt: int) -> Claim:
        return Claim(job.folder, job.node.key, session.token, attempt)

    with claim(2) as second:
        second.check()
        for attempt in (1, 2):
            with pytest.raises(SupersededError, match="was begun before, by process"), claim(attempt):
                pass
        second.check()
        assert session.is_held(job.node.key) and not second.should_stop()
    assert not session.is_held(job.node.key)
    with claim(3) as third:
        session.stop()
        assert third.should_stop()
        third.check()  # it may still save
        with pytest.raises(SupersededError, match="another attempt"):
            second.check()
    with pytest.raises(SupersededError, match="has ended"):  # a job that starts after the stop trains nothing
        train_in_worker(session.token, 1, job, 4)


def test_a_job_of_an_earlier_command_does_not_supersede_a_worker_of_the_current_one(
    job: Job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepen.study.run.ownership.PATIENCE_SECONDS", 0)
    earlier = Session(job.folder)
    earlier.end()
    session = Session(job.folder)
    with Claim(job.folder, job.node.key, session.token, 1) as claim:
        with pytest.raises(SupersededError, match="has ended"):
            train_in_worker(earlier.token, 1, job, 2)
        claim.check()


def test_a_file_that_is_replaced_while_nfs_opens_it_is_opened_again(job: Job, monkeypatch: pytest.MonkeyPatch):
    session, read_bytes, stale = Session(job.folder), Path.read_bytes, list[Path]()

    def fails_first(path: Path) -> bytes:
        if path not in stale:
            stale.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read_bytes(path)

    with Claim(job.folder, job.node.key, session.token, 1) as claim:
        monkeypatch.setattr(Path, "read_bytes", fails_first)
        claim.check()
        assert not claim.should_stop()
    assert {path.name for path in stale} == {"session", f"{job.node.key}.owner"}


def test_a_command_waits_until_the_workers_of_a_killed_command_have_saved_and_stopped(
    job: Job, capfd: pytest.CaptureFixture[str]
):
    session, outcomes = Session(job.folder), list[Outcome]()
    with meanwhile(lambda: outcomes.append(train_in_worker(session.token, 1, job, 1))):
        next(in_mid_segment(job.folder))
        stop_earlier_session(job.folder)
        kept = Store(job.folder).segment(job.node.key).tokens_saved
    assert outcomes == [Outcome()] and 0 < kept < BATCH * STEPS
    assert "waiting until they have saved" in capfd.readouterr().err and not (job.folder / "workers").exists()


def test_a_store_is_not_checked_while_workers_of_a_killed_command_train_and_pruned_after_they_stopped(
    job: Job, capfd: pytest.CaptureFixture[str]
):
    store, session, outcomes = Store(job.folder), Session(job.folder), list[Outcome]()
    store.open(Study.from_json(store.recorded("study")), {}, {"lineage": {"children": {}, "marks": []}})
    with meanwhile(lambda: outcomes.append(train_in_worker(session.token, 1, job, 1))):
        next(in_mid_segment(job.folder))
        assert main(["store", "check", str(job.folder)]) == 2
        message = capfd.readouterr().err
        assert "are still training" in message and message.count("\n") == 1 and outcomes == []
        assert main(["store", "prune", str(job.folder), "--keep", "last"]) == 0
        assert every_step_is_kept(job.folder)
    assert outcomes == [Outcome()]
    assert main(["store", "check", str(job.folder)]) == 0


def test_a_folder_that_a_machine_cannot_see_is_an_error_that_names_the_machine(
    job: Job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepen.study.run.ownership._VISIBLE_SECONDS", 0)
    outcome = train_in_worker("token", 1, job, 1)
    assert isinstance(outcome.error, FileNotFoundError) and os.uname().nodename in str(outcome.error)

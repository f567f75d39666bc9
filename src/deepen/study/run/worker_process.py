"""The function that worker processes run: claim a segment, recover the state of an earlier attempt, train."""

import logging
import traceback
from collections.abc import Callable

import torch

from deepen.messages import print_messages
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import Claim, SupersededError
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store
from deepen.train.device import pick_device, release_memory

_log = logging.getLogger(__name__)


def train_in_worker(
    session: str, threads: int, job: Job, attempt: int, must_stop: Callable[[], bool] = lambda: False
) -> Outcome:
    """Train a segment in a worker process on any machine.

    Args:
        session: token of the command that runs the study.
        threads: CPU threads.
        job: the segment.
        attempt: number of the attempt, from 1.
        must_stop: called after each step; whether the machine is about to end this process.

    Raises:
        SupersededError: another attempt at this segment is newer.
    """
    if not logging.getLogger("deepen").hasHandlers():
        print_messages()
    torch.set_num_threads(threads)
    try:
        with Claim(job.folder, job.node.key, session, attempt) as claim:
            if claim.should_stop():
                return Outcome()
            if attempt > 1 and _recover(job, claim):
                return Outcome(finished=True)
            finished = train_segment(job, lambda: must_stop() or claim.should_stop(), claim.check)
            return Outcome(finished=finished)
    except SupersededError:
        raise
    except Exception as error:
        error.add_note(traceback.format_exc())  # pickling drops the traceback
        return Outcome(error=error)
    finally:
        release_memory(pick_device())


def _recover(job: Job, claim: Claim) -> bool:
    """Keep the newest good state of an attempt whose worker was lost; returns whether it had finished."""
    folder = Store(job.folder).segment(job.node.key, claim.check)
    if folder.done is not None:
        return True
    for problem in folder.recover_state(verify=True):
        _log.warning("%s; continuing from the newest good state before it", problem)
    return False

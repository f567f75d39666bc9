"""Runs a growing study in a child process and kills it: python kill_driver.py DATA_FOLDER

Reads lines `FOLDER after SECONDS` or `FOLDER at N` from standard input. For each line it forks a child that runs
the study in FOLDER, kills it with SIGKILL after the given seconds, or makes it kill itself half way through its
N-th disk operation. It prints `killed` or the child's exit code. A fork saves the seconds that a new interpreter
needs for imports; the child is a separate process, and nothing that it holds outlives it.
"""

import math
import os
import signal
import sys
import threading
from pathlib import Path

import torch

from deepen import api
from deepen.model.config import ModelConfig
from deepen.schedule.rate import WSD
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Arm, Study
from deepen.study.run import worker
from disks import die_at

SAVE_EVERY_SECONDS = 0.02
"""Short, so that many kills happen during a save."""

LOG_EVERY_SECONDS = 0.005
"""Short, so that many lines are logged after the latest state."""


def study_on(data: Path) -> Study:
    """A study with stages, growth and freezing, and with full training that forks at every anchor."""
    model = ModelConfig(name="killed", depth=6, width=8, heads=2, context=16, vocab=512)
    return Study(
        name="killed",
        model=model,
        tokens=48 * 32,
        batch_tokens=32,
        context=16,
        arms=(
            Arm(name="full", recipe="full"),
            Arm(name="two-phase", recipe="two-phase", options={"stages": 3}),
            Arm(name="one-shot", recipe="one-shot"),
        ),
        evaluation=Evaluation(every_tokens=16 * 32, validation_tokens=256),
        rate=WSD(peak=8e-3, warmup_tokens=3 * 32),
        data=str(data),
    )


def run(data: Path, folder: Path) -> None:
    """Run the study as `deepen study` does, without the page."""
    api.run(study_on(data), folder, executor=ExecutorChoice(jobs=1, threads=1), report=False)


def child_of(data: Path, folder: Path, dies_at: int) -> int:
    """Fork a child that runs the study; returns its process number."""
    if number := os.fork():
        return number
    try:
        die_at(dies_at)
        run(data, folder)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def life(data: Path, folder: Path, seconds: float = math.inf, dies_at: int = 0) -> str:
    """Run the study in a child until it ends or is killed; returns `killed` or the exit code."""
    number, ended = child_of(data, folder, dies_at), threading.Event()

    def kill() -> None:
        if not ended.wait(seconds):
            os.kill(number, signal.SIGKILL)

    if seconds < math.inf:
        threading.Thread(target=kill).start()
    # The child is not reaped until the killer has ended, so that its number is not reused for another process.
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    ended.set()
    _, status = os.waitpid(number, 0)
    code = os.waitstatus_to_exitcode(status)
    return "killed" if code == -signal.SIGKILL else str(code)


def main() -> None:
    """Answer each line of standard input."""
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # the first one imports for a second
    worker.SAVE_EVERY_SECONDS, worker.LOG_EVERY_SECONDS = SAVE_EVERY_SECONDS, LOG_EVERY_SECONDS
    data = Path(sys.argv[1])
    for line in sys.stdin:
        folder, how, when = line.split()
        if how == "after":
            print(life(data, Path(folder), seconds=float(when)), flush=True)
        else:
            print(life(data, Path(folder), dies_at=int(when)), flush=True)


if __name__ == "__main__":
    main()

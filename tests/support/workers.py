"""Worker processes of a study: finding them in mid-segment, killing and interrupting them."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepen.study.store.study_folder import Store
from leftovers import read_files
from processes import polls

BATCH, STEPS = 32, 450


def in_mid_segment(out: Path) -> Iterator[tuple[str, int]]:
    """Poll for segments that have logged steps and are far from done, with the processes that train them."""
    for _ in polls():
        for log in out.glob("segments/*/metrics.jsonl"):
            owner = out / "workers" / f"{log.parent.name}.owner"
            if 0 < len(log.read_text().splitlines()) < STEPS / 3 and owner.exists():
                yield log.parent.name, int(json.loads(owner.read_text())["who"].split()[1])


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread during a `with` block."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    yield
    thread.join()


@contextmanager
def killing(out: Path, times: int = 1, number: int = signal.SIGKILL) -> Iterator[None]:
    """Send a signal to processes in mid-segment."""

    def kill() -> None:
        killed: set[int] = set()
        for _, process in in_mid_segment(out):
            if process not in killed:
                os.kill(process, number)
                killed.add(process)
            if len(killed) == times:
                return

    with meanwhile(kill):
        yield


@contextmanager
def interrupting(out: Path) -> Iterator[None]:
    """Send SIGINT to the command in mid-segment."""
    with meanwhile(lambda: next(in_mid_segment(out)) and os.kill(os.getpid(), signal.SIGINT)):
        yield


def every_step_is_kept(out: Path) -> bool:
    """Whether each segment with logged steps has a state at its last step."""
    store = Store(out)
    segments = [store.segment(key) for key in store.segment_keys()]
    begun = [segment for segment in segments if segment.lines("metrics")]
    return bool(begun) and all(s.lines("metrics")[-1]["tokens"] == s.tokens_saved for s in begun)


def assert_segments_are_undisturbed(out: Path, undisturbed: dict[str, Any]) -> None:
    """Check that every segment of a study with some of the arms equals the undisturbed one."""
    segments = {name: content for name, content in read_files(out).items() if name.startswith("segments/")}
    assert segments and all(undisturbed[name] == content for name, content in segments.items())

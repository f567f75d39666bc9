"""What `study` and `train` share: run a study with a progress line, and render what ends it early."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from deepen import api
from deepen.cli.output.progress import ProgressLine
from deepen.cli.requests.options import Problems, Stopped
from deepen.errors import InvalidValueError, InvalidValuesError, RunError
from deepen.messages import print_messages
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.schema import Results
from deepen.study.run.executors.workers import WorkersLostError
from deepen.study.run.scheduler import Interrupted
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_files import StateError
from deepen.train.distributed.failure import ProcessLostError
from deepen.train.distributed.processes import World
from deepen.train.errors import TrainingError

OPTION_NAMES = {"folder": "out"}
"""Options whose name is not that of the library's field."""


def run_study(
    study: Study,
    out: Path,
    executor: ExecutorChoice,
    *,
    keep: str = "last",
    verify: bool = False,
    shard: bool = False,
    world: World | None = None,
) -> Results:
    """Run a study to its end in `out`, show its progress on stderr, and return its results."""
    print_messages()
    progress = ProgressLine(Console(stderr=True), study.name)
    with failures_rendered(out), progress:
        return api.run(
            study,
            out,
            executor=executor,
            keep=keep,
            verify=verify,
            shard=shard,
            on_progress=progress.report,
            world=world,
        )


@contextmanager
def failures_rendered(out: Path) -> Iterator[None]:
    """Turn whatever ends a run early into a line that says what was kept and how to continue."""
    try:
        yield
    except Interrupted:
        raise Stopped(130, f"stopped; every step so far is kept in {out}: the same command continues") from None
    except WorkersLostError as error:
        raise Stopped(1, f"{describe(error)}; {_kept(out)}") from None
    except (TrainingError, StateError, ProcessLostError) as error:
        raise Stopped(1, f"the run failed: {describe(error)}; {_kept(out)}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise Stopped(1, f"out of memory: use a smaller --batch-tokens or --context; {_kept(out)}") from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Stopped(1, f"cannot read or write: {error.strerror or error}{where}; {_kept(out)}") from None
    except InvalidValuesError as invalid:
        raise Problems(list(dict.fromkeys(describe(error) for error in invalid.errors))) from None
    except ValueError as error:
        raise Problems([describe(error)]) from None


def describe(error: Exception) -> str:
    """An error in one line, with fields by the names of their options."""
    return error.describe(option_name) if isinstance(error, InvalidValueError | RunError) else str(error)


def option_name(field: str) -> str:
    """The option that sets a field of the library."""
    return f"--{OPTION_NAMES.get(field, field).replace('_', '-')}"


def _kept(out: Path) -> str:
    """Which complete state there is to continue from, in words."""
    newest = Store(out).newest_state()
    kept = f"the last complete state is {newest}" if newest else f"no state is complete in {out} yet"
    return f"{kept}; once the cause is mended, the same command continues"

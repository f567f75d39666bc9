"""Trackers: other people's tools that show curves while runs are trained.

    run = get_tracker("tensorboard").open(TrackedRun(project="quickstart", group="full", name="full seed 0", ...))
    run.log({"train/loss": 4.2}, step=100, tokens=409_600)
    run.close()

A tracker only displays: the files of a study stay the source of truth, and `deepen.study.run.tracking` fills
trackers from them. Where a tracker sends its data is decided by its own environment variables and settings, such
as WANDB_MODE, WANDB_PROJECT and TRACKIO_SPACE_ID. To add a tracker, add a class and an entry in `TRACKERS`.
"""

import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from deepen.errors import InvalidValueError, look_up
from deepen.extras import import_extra


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """What a tracker is given of a run: an arm with one seed.

    Attributes:
        project: the study; trackers show the runs of a project in one picture.
        group: the arm; trackers can average the runs of a group.
        name: the arm and the seed.
        id: the same whenever the run is continued, and another for each run.
        config: recipe, model, batch, rate and so on, in JSON's types.
        folder: the folder of the study.
    """

    project: str
    group: str
    name: str
    id: str
    config: Mapping[str, Any]
    folder: Path


class OpenRun(Protocol):
    """A run that a tracker has opened."""

    def log(self, values: Mapping[str, float], *, step: int, tokens: int) -> None:
        """Log values at a step; `tokens` were trained up to there."""

    def flush(self) -> None:
        """Hand over what was logged."""

    def close(self) -> None:
        """Hand over what was logged, and end."""


class Tracker(Protocol):
    """A tracker, before any run is opened."""

    def check(self) -> None:
        """Raise an InvalidValueError if the tracker is not installed or has to be set up first."""

    def open(self, run: TrackedRun) -> OpenRun:
        """Open a run, or continue it."""

    def hint(self, project: str, folder: Path) -> str:
        """How to look at the runs of a study in a folder, as a clause."""


class _TensorBoard:
    def check(self) -> None:
        import_extra("tensorboard", extra="track", purpose="tracker tensorboard")

    def open(self, run: TrackedRun) -> OpenRun:
        writers = import_extra("torch.utils.tensorboard", extra="track", purpose="tracker tensorboard")
        writer = writers.SummaryWriter(str(_tensorboard_folder(run.folder) / quote(run.name, safe=" =+,")))
        writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in run.config.items()))
        return _TensorBoardRun(writer)

    def hint(self, project: str, folder: Path) -> str:
        return f'tensorboard --logdir "{_tensorboard_folder(folder)}"'


@dataclass(frozen=True, slots=True)
class _TensorBoardRun:
    writer: Any

    def log(self, values: Mapping[str, float], *, step: int, tokens: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def _tensorboard_folder(folder: Path) -> Path:
    return folder / "tensorboard"


class _WeightsAndBiases:
    def check(self) -> None:
        wandb = import_extra("wandb", extra="track", purpose="tracker wandb")
        if _wandb_mode() not in (None, "online", "shared"):
            return
        try:
            is_logged_in = wandb.login(prompt=False)
        except Exception as error:  # of many classes: settings that it cannot read, a key that is not one
            problem = " ".join(str(error).split())
            raise InvalidValueError(f"wandb cannot log in ({problem})", field="track", value="wandb") from None
        if not is_logged_in:
            raise InvalidValueError(
                "wandb: nobody is logged in",
                field="track",
                value="wandb",
                remedy="run `wandb login`, or set WANDB_MODE=offline and upload later with `wandb sync`",
            )

    def open(self, run: TrackedRun) -> OpenRun:
        wandb = import_extra("wandb", extra="track", purpose="tracker wandb")
        opened = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or re.sub(r"[/\\#?%:]", "-", run.project)[:128],
            group=run.group[:128],
            name=run.name[:128],
            id=run.id,
            mode=_wandb_mode(),
            resume="allow",
            config=dict(run.config),
            dir=str(run.folder),
            reinit="create_new",  # runs that are trained in parallel are open at the same time
            settings=wandb.Settings(silent=True, console="off", save_code=False),
        )
        opened.define_metric("*", step_metric="tokens")
        return _WeightsAndBiasesRun(opened)

    def hint(self, project: str, folder: Path) -> str:
        if _wandb_mode() == "offline":
            return f'wandb sync "{folder}"/wandb/offline-run-*'
        return "the runs are at wandb.ai"


def _wandb_mode() -> str | None:
    return os.environ.get("WANDB_MODE") or None


@dataclass(frozen=True, slots=True)
class _WeightsAndBiasesRun:
    run: Any

    def log(self, values: Mapping[str, float], *, step: int, tokens: int) -> None:
        self.run.log({**values, "tokens": tokens, "step": step})

    def flush(self) -> None:
        """Nothing to do: a process of wandb's own has it."""

    def close(self) -> None:
        self.run.finish()


class _Trackio:
    def check(self) -> None:
        import_extra("trackio", extra="track", purpose="tracker trackio")

    def open(self, run: TrackedRun) -> OpenRun:
        trackio = import_extra("trackio", extra="track", purpose="tracker trackio")
        with _quiet():
            # trackio ends the run that is open in the same context, and finds a run by its name.
            opened = Context().run(
                trackio.init,
                project=run.project,
                group=run.group,
                name=f"{run.name} ({run.id})",
                config=dict(run.config),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        return _TrackioRun(opened)

    def hint(self, project: str, folder: Path) -> str:
        return f'trackio show --project "{project}"'


@dataclass(frozen=True, slots=True)
class _TrackioRun:
    run: Any

    def log(self, values: Mapping[str, float], *, step: int, tokens: int) -> None:
        self.run.log({**values, "tokens": tokens}, step=step)

    def flush(self) -> None:
        """Nothing to do: a thread of trackio's own writes twice a second."""

    def close(self) -> None:
        with _quiet():
            self.run.finish()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a tracker prints in this thread out of the standard output, where a command's result goes."""
    with redirect_stdout(_OtherThreads()):  # replaces it for all threads
        yield


class _OtherThreads(io.TextIOBase):
    """The standard output without what this thread prints."""

    def __init__(self) -> None:
        self._stdout, self._thread = sys.stdout, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stdout.write(text)

    def flush(self) -> None:
        self._stdout.flush()


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": _TensorBoard(),
    "wandb": _WeightsAndBiases(),
    "trackio": _Trackio(),
}
"""Every tracker by its name."""


def get_tracker(name: str) -> Tracker:
    """Look up a tracker.

    Raises:
        InvalidValueError: there is no tracker of this name.
    """
    return look_up(TRACKERS, name, field="track")

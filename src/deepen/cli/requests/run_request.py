"""What `study` and `train` ask for alike: a study, and how and where to run it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from deepen.cli.requests.command import Command
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """A study to run or to continue.

    Attributes:
        command: the table by whose options errors are described.
        command_line: the command line as text, for the results.
        folder: where it is kept.
        executor, threads, keep, verify, shard, track: as in `deepen.run`.
        as_json: whether the result is printed as JSON.
    """

    command: Command
    command_line: str
    study: Study
    folder: Path
    executor: ExecutorChoice
    threads: int | None
    keep: str
    verify: bool
    shard: bool | str
    track: tuple[str, ...]
    as_json: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MapRequest(RunRequest):
    """Several studies to run or to continue, in folders below `folder`; `study` is the first of them."""

    studies: tuple[Study, ...]

    @classmethod
    def from_run(cls, request: RunRequest, studies: tuple[Study, ...]) -> Self:
        """The request with several studies."""
        return cls(**{field.name: getattr(request, field.name) for field in fields(request)}, studies=studies)

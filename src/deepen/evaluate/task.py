"""Tasks: examples in a file, a way to score them, and the score that guessing reaches.

    task = get_task("hellaswag")                  # deepen.evaluate.registry
    task.check(path)                              # raises a TaskError unless the file holds examples
    examples = task.load(path, tokenizer)         # read and tokenized
    score = task.score(model, examples)           # Score(value=0.29, stderr=0.005, n=10042, outcomes=(0, 1, ...))

A task needs only one thing from a model: the mean loss of each of many completions. `deepen.evaluate.scoring`
decides how rows are batched and which processes compute them, so nothing here needs torch. A new task is one entry
in `deepen.evaluate.registry`; a new kind of task also needs its own module beside this one.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from deepen.errors import InvalidValueError
from deepen.os_errors import explain

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer


VALIDATION = "validation"
"""The name of the validation loss in evals.jsonl; no task may have it."""

_READ_BYTES = 1 << 20


class TaskError(InvalidValueError):
    """A task file cannot be used. The message names the file, and the line if a line is wrong."""


class Completion(NamedTuple):
    """A text to score after a prompt, both as token ids."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


class CompletionModel(Protocol):
    """A model that scores completions."""

    def completion_losses(self, completions: Sequence[Completion]) -> list[float]:
        """The mean loss per token of each completion given its prompt, in nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The result of one evaluation.

    Attributes:
        value: the metric: a mean loss in nats per token, or a share of examples.
        stderr: the standard error of `value` over windows or examples.
        n: tokens predicted, or examples.
        outcomes: the outcome of each example in the order of the file, 1 for a right answer, so that two models
            can be compared example by example. Empty for the validation loss.
    """

    value: float
    stderr: float
    n: int
    outcomes: tuple[float, ...] = ()

    @classmethod
    def accuracy(cls, correct: Sequence[bool]) -> "Score":
        """The share of examples that were answered correctly."""
        n = len(correct)
        share = sum(correct) / n
        return cls(value=share, stderr=(share * (1 - share) / n) ** 0.5, n=n, outcomes=tuple(map(int, correct)))

    def to_json(self) -> dict[str, Any]:
        """The score in the form of evals.jsonl, where outcomes of 0 and 1 become the string `correct`."""
        line: dict[str, Any] = {"value": self.value, "stderr": self.stderr, "n": self.n}
        if not self.outcomes:
            return line
        if set(self.outcomes) <= {0, 1}:
            return line | {"correct": "".join("01"[int(outcome)] for outcome in self.outcomes)}
        return line | {"outcomes": list(self.outcomes)}


class Task(Protocol):
    """A task, usually a frozen dataclass such as `multiple_choice.MultipleChoice`."""

    @property
    def name(self) -> str:
        """The name in requests, study files, logs and results."""

    @property
    def title(self) -> str:
        """The name in text and figures."""

    @property
    def metric(self) -> str:
        """A description of `Score.value`, such as "accuracy"."""

    @property
    def chance(self) -> float | None:
        """The value that guessing reaches; None if the metric has no such value."""

    def check(self, path: Path) -> None:
        """Raise a TaskError unless the file holds examples of this task. Needs no tokenizer."""

    def load(self, path: Path, tokenizer: "Tokenizer") -> Sequence[Any]:
        """The examples of a file, tokenized.

        Raises:
            TaskError: the file cannot be used, or the tokenizer makes no tokens of one of its texts.
        """

    def score(self, model: CompletionModel, examples: Sequence[Any]) -> Score:
        """Score a model on the examples that `load` returned."""


@contextmanager
def open_task_file(path: Path) -> Iterator[BinaryIO]:
    """Open the content of a task file, decompressed if it is a gzip file, for a `with` block.

    Args:
        path: the file.

    Raises:
        TaskError: there is no such file, or it cannot be read or decompressed.
    """
    name = f"task file {path}"
    try:
        if not path.is_file():  # reading a pipe or a device might never end
            problem = "is not a file" if path.exists() else "does not exist"
            raise TaskError(f"{name} {problem}", value=path, remedy="name a JSONL file")
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as content:
            yield content  # type: ignore[misc]  # a GzipFile is a binary file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        problem = f"{name} is a damaged gzip file ({error})"
        raise TaskError(problem, value=path, remedy="download it again") from None
    except OSError as error:
        problem, remedy = explain(error)
        raise TaskError(f"{name} cannot be read: {problem}", value=path, remedy=remedy) from None


def hash_task_file(path: Path) -> str:
    """The sha256 of a task file's content, which identifies it wherever it is, compressed or not.

    Raises:
        TaskError: there is no such file, or it cannot be read.
    """
    digest = hashlib.sha256()
    with open_task_file(path) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()

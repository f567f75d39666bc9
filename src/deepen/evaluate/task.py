"""Tasks: examples in a file, a way to score them, and the score that guessing reaches.

    task = get_task("hellaswag")                  # deepen.evaluate.registry
    task.check(path)                              # raises a TaskError unless the file holds examples
    examples = task.load(path, tokenizer)         # read and tokenized
    score = task.score(model, examples)           # Score(value=0.29, stderr=0.005, n=10042, outcomes=(0, 1, ...))

A task needs only one thing from a model: how likely each of many completions is. `deepen.evaluate.scoring` decides
how they are batched and which processes compute them, so nothing here needs torch. A new task is one entry in
`deepen.evaluate.registry`; a new kind of task also needs its own module beside this one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from deepen.errors import InvalidValueError

if TYPE_CHECKING:
    from deepen.data.tokenizers import Tokenizer


VALIDATION = "validation"
"""The name of the validation loss in evals.jsonl, at the points of a curve; no task may have it."""

MARK_VALIDATION = "validation at the mark"
"""The name of the validation loss at a mark: on more text, with the loss of each window; no task may have it."""

LOSSES = (VALIDATION, MARK_VALIDATION)


DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
"""The type of a model's matrix products, by precision: as scores record it, and as other libraries call it."""


class TaskError(InvalidValueError):
    """A task file cannot be used. The message names the file, and the line if a line is wrong."""


class Completion(NamedTuple):
    """A text to score after a prompt, both as token ids."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


class CompletionScore(NamedTuple):
    """How likely a completion is after its prompt.

    Attributes:
        loss: the sum of its tokens' losses in nats: minus the log-likelihood.
        tokens: how many tokens were scored.
        is_greedy: whether each of them is the model's first choice.
    """

    loss: float
    tokens: int
    is_greedy: bool

    @property
    def mean_loss(self) -> float:
        """The loss per token, in nats."""
        return self.loss / self.tokens


class CompletionModel(Protocol):
    """A model that scores completions."""

    @property
    def context(self) -> int:
        """The most tokens that the model reads at once."""

    def score_completions(self, groups: Sequence[Sequence[Completion]]) -> list[list[CompletionScore]]:
        """The score of each completion, in the same order.

        A group usually holds the completions of one example. What they have in common at the beginning is computed
        once; the scores are those of each completion alone.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The result of one evaluation.

    Attributes:
        value: the metric: a mean loss in nats per token, or a share of examples.
        stderr: the standard error of `value` over windows or examples.
        n: tokens predicted, or examples.
        outcomes: the outcome of each example in the order of the file, 1 for a right answer, so that two models
            can be compared example by example. Empty for the validation loss.
        metrics: all metrics by name, `value` among them, each with its standard error under its name and
            `_stderr`, as in the results of lm-evaluation-harness.
    """

    value: float
    stderr: float
    n: int
    outcomes: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def accuracy(cls, correct: Sequence[bool]) -> "Score":
        """The share of right answers, with the standard error that lm-evaluation-harness computes."""
        n = len(correct)
        share = sum(correct) / n
        stderr = (share * (1 - share) / (n - 1)) ** 0.5 if n > 1 else 0.0
        return cls(value=share, stderr=stderr, n=n, outcomes=tuple(map(int, correct)))

    def with_metrics(self, scores: "Mapping[str, Score]") -> "Score":
        """This score with the values and standard errors of others under their names."""
        metrics: dict[str, float] = {}
        for name, score in scores.items():
            metrics |= {name: score.value, f"{name}_stderr": score.stderr}
        return replace(self, metrics=metrics)

    def to_json(self) -> dict[str, Any]:
        """The score in the form of evals.jsonl, where outcomes of 0 and 1 become the string `correct`."""
        line: dict[str, Any] = {"value": self.value, "stderr": self.stderr, "n": self.n}
        if self.metrics:
            line["metrics"] = dict(self.metrics)
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

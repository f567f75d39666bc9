"""A study: arms, seeds and the settings they share; and the marks at which they are compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deepen.compute.ledger import Ledger
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps
from deepen.schedule.phase import Schedule
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipes import make_schedule
from deepen.train.settings import TrainSettings

ACCOUNTINGS = ("flops", "paper")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A way to train: a recipe with its options, under a name that is unique in the study."""

    name: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What is measured, and how often.

    `every_tokens` spaces the curve's points, `validation_tokens` fixes the validation set. HellaSwag is
    evaluated where a file is named, every `hellaswag_every_tokens` and at the marks.
    """

    every_tokens: int
    validation_tokens: int
    hellaswag: str = ""
    hellaswag_every_tokens: int = 0

    def __post_init__(self) -> None:
        if self.every_tokens < 1 or self.validation_tokens < 1:
            raise ValueError("every_tokens and validation_tokens of an Evaluation must be at least 1")
        if self.hellaswag and self.hellaswag_every_tokens < 1:
            raise ValueError(f"hellaswag_every_tokens is {self.hellaswag_every_tokens}: it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A comparison at equal compute.

    `tokens` are the baseline's; they set the budget: the exact FLOPs of full training for so many tokens.
    `anchors` are the shares of that budget at which the baseline is measured, so that an arm's loss can be
    turned into the compute the baseline would need for it. With accounting `paper`, `two-phase` arms are also
    measured at the mark that the paper's closed form gives. The unit of `batch_tokens` and `context` is
    tokens. One seed gives differences but no intervals.
    """

    name: str
    model: ModelConfig
    tokens: int
    batch_tokens: int
    context: int
    arms: tuple[Arm, ...]
    evaluation: Evaluation
    seeds: tuple[int, ...] = (0,)
    baseline: str = "full"
    anchors: tuple[float, ...] = (0.7, 1.0, 1.4)
    accountings: tuple[str, ...] = ACCOUNTINGS
    lr: Rate = field(default_factory=WSD)
    settings: TrainSettings = field(default_factory=TrainSettings)
    data: str = "sotu"

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"arms {names} repeat a name: results are told apart by it")
        if self.context > self.model.context:
            raise ValueError(
                f"context is {self.context}, but {self.model.name} has {self.model.context} positions"
            )
        if self.batch_tokens % self.context or self.batch_tokens < 1:
            raise ValueError(
                f"batch_tokens is {self.batch_tokens}: it must be a multiple of context {self.context}"
            )
        if self.tokens < self.batch_tokens:
            raise ValueError(f"tokens is {self.tokens:,}: it must be at least one step of {self.batch_tokens:,}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds}: give at least one, each once")
        if not all(0 <= seed < 2**32 for seed in self.seeds):
            raise ValueError(f"seeds {self.seeds}: each must be at least 0 and below {2**32:,}")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is not an arm: use one of {', '.join(names)}")
        if 1.0 not in self.anchors:
            raise ValueError(f"anchors {self.anchors} lack 1.0, the budget at which arms are compared")
        if unknown := set(self.accountings) - set(ACCOUNTINGS):
            raise ValueError(f"accounting {min(unknown)!r} is unknown: use {', '.join(ACCOUNTINGS)}")

    @property
    def baseline_tokens(self) -> int:
        """The baseline's tokens in whole steps."""
        return round_to_steps(self.tokens, self.batch_tokens) * self.batch_tokens

    @property
    def ledger(self) -> Ledger:
        """The price of training as this study trains, recomputed activations included."""
        return Ledger(model=self.model, activation_checkpointing=self.settings.activation_checkpointing)

    def schedule(self, arm: Arm, tokens: int) -> Schedule:
        """The schedule of an arm over `tokens` in all, with the study's rate."""
        schedule = make_schedule(arm.recipe, self.model, tokens, self.baseline_tokens, arm.options)
        return replace(schedule, lr=self.lr)

    def described(self) -> dict[str, Any]:
        """The study in JSON's types."""
        lr = asdict(self.lr) | {"rate": type(self.lr).__name__.lower()}  # type: ignore[call-overload]
        return asdict(self) | {"lr": lr, "settings": self.settings.described()}

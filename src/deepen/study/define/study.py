"""A study: arms, seeds, and the settings that they share.

docs/studies.md explains every field, with an example.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deepen.compute.accounting import EXACT_FLOPS, PAPER, TOKENS
from deepen.compute.ledger import Ledger
from deepen.errors import InvalidValueError, is_line, is_whole, join_or, nearest
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps
from deepen.schedule.json_form import fields_from_json, fields_to_json
from deepen.schedule.rate import WSD, Rate
from deepen.study.define.arm import Arm as Arm
from deepen.study.define.arm import check_rate
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.numbers import (
    check_anchors,
    check_continual_shares,
    check_depths,
    check_earlier_tokens,
    check_seeds,
)
from deepen.study.define.start import Start
from deepen.study.define.tuning import Tuning
from deepen.train.settings import TrainSettings

ACCOUNTINGS = (EXACT_FLOPS, PAPER, TOKENS)

_WHOLE = ("tokens", "batch_tokens", "context", "seeds_planned")
_WHOLE_LISTS = ("seeds", "earlier_tokens", "depths")


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A comparison of arms at equal compute.

    Attributes:
        name: the study's name, and the name of its folder if no folder is given.
        model: the model at its full depth.
        tokens: tokens of the baseline. They set the budget: the exact FLOPs of full training for these tokens.
        batch_tokens: tokens per optimizer step.
        context: tokens per sequence.
        arms: the arms to compare.
        evaluation: how runs are evaluated.
        seeds: every arm is trained with every seed. One seed gives differences, but no intervals.
        baseline: name of the arm that the others are compared with.
        anchors: shares of the budget at which the baseline is measured, so that an arm's loss can be converted
            into the compute that the baseline would need to reach it.
        continual_shares: lengths of the continual training, as shares of the baseline's tokens, at which arms with
            a staged part are also compared. An arm and the baseline are compared at the compute that the arm has
            used there.
        accountings: the ways to price compute at which arms are compared. `paper` adds a mark for arms whose
            recipe has a closed form in its paper; `tokens` adds one where an arm has trained on as many tokens as
            the baseline.
        rate: the learning rate over a run, of every arm that has none of its own.
        settings: training settings, the same for every arm.
        data: a folder of token shards, or `sotu` for the embedded corpus.
        data_dtype: the type of the tokens in shards without a header: "uint16" or "uint32".
        tokenizer: the tokenizer that made the shards, where their folder has none: "gpt2", or the path of a
            tokenizer.json or of its folder.
        start: the checkpoint from which every run begins; None for fresh weights.
        earlier_tokens: smaller budgets, in tokens of the baseline, with which the study was run before. Its arms
            are compared there too, and its warm-up is that of the first, so that all budgets share training.
        seeds_planned: how many seeds are planned; no verdict is written with fewer. 0 for those that the study has
            when its first verdict is written. Seeds that are added after a verdict make a further look.
        primary: name of the arm that the study is about, declared before the first verdict; the others are then
            exploratory. Empty for none.
        tuning: the trials that choose each arm's rate, and options, before it is trained with the study's seeds;
            None for the rates and options that are given.
        depths: constant depths that are trained at the same compute, with the seeds of the trials. The best of
            them at each budget is trained with the study's seeds, and that of the largest is the second baseline,
            the best fixed depth; the model's full depth is always one of them.
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
    continual_shares: tuple[float, ...] = ()
    accountings: tuple[str, ...] = (EXACT_FLOPS, PAPER)
    rate: Rate = field(default_factory=WSD)
    settings: TrainSettings = field(default_factory=TrainSettings)
    data: str = field(default="sotu", metadata={"identity": False})
    data_dtype: str | None = field(default=None, metadata={"identity": False})
    tokenizer: str = field(default="", metadata={"identity": False})
    start: Start | None = None
    earlier_tokens: tuple[int, ...] = ()
    seeds_planned: int = field(default=0, metadata={"identity": False})
    primary: str = field(default="", metadata={"identity": False})
    tuning: Tuning | None = None
    depths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._check_types()
        self._check_sizes()
        self._check_arms()
        check_seeds(self.seeds)
        check_earlier_tokens(self.earlier_tokens, self.tokens, self.batch_tokens)
        check_depths(self.depths, self.model.depth)
        if self.has_trials:
            self.trials.check(self.arms, self.seeds)
        check_anchors(self.anchors)
        check_continual_shares(self.continual_shares)
        if unknown := set(self.accountings) - set(ACCOUNTINGS):
            raise InvalidValueError(
                f"{min(unknown)!r} is unknown: use {join_or(ACCOUNTINGS)}",
                field="accountings",
                value=min(unknown),
                allowed=ACCOUNTINGS,
            )
        for name in _WHOLE:
            object.__setattr__(self, name, int(getattr(self, name)))  # JSON has no whole numbers of numpy
        for name in _WHOLE_LISTS:
            object.__setattr__(self, name, tuple(map(int, getattr(self, name))))

    def rate_for(self, arm: Arm) -> Rate:
        """The learning rate of an arm: its own, or the study's, with the arm's peak if it has one."""
        if arm.peak is not None:
            return replace(self.rate, peak=arm.peak)  # type: ignore[type-var]
        return self.rate if arm.rate is None else arm.rate

    def _check_types(self) -> None:
        """Refuse what an author of a study file may confuse, such as a model's name and a model."""
        whole, sequence, path = "it must be a whole number", "it must be a tuple", "it must be text, or a path"
        for name, is_right, remedy in (
            ("name", is_line(self.name) and self.name, "it must be text in one line, and not empty"),
            ("model", isinstance(self.model, ModelConfig), "write deepen.PRESETS['nano'], or a ModelConfig"),
            *((name, is_whole(getattr(self, name)), whole) for name in ("tokens", "batch_tokens", "context")),
            ("arms", _is_sequence(self.arms, Arm) and self.arms, f"{sequence} of at least one deepen.Arm"),
            ("seeds", _is_sequence(self.seeds), f"{sequence} of whole numbers, such as (0, 1)"),
            ("seeds_planned", is_whole(self.seeds_planned) and self.seeds_planned >= 0, f"{whole}, or 0"),
            ("evaluation", isinstance(self.evaluation, Evaluation), "it must be a deepen.Evaluation"),
            ("settings", isinstance(self.settings, TrainSettings), "it must be a deepen.TrainSettings"),
            ("tuning", isinstance(self.tuning, Tuning | None), "it must be a deepen.Tuning, or None"),
            ("start", isinstance(self.start, Start | None), "write deepen.Start.at(CHECKPOINT), or None"),
            ("anchors", _is_sequence(self.anchors), f"{sequence} of numbers, such as (0.7, 1.0)"),
            ("continual_shares", _is_sequence(self.continual_shares), f"{sequence} of numbers"),
            ("accountings", _is_sequence(self.accountings, str), f"{sequence} of {join_or(ACCOUNTINGS)}"),
            ("earlier_tokens", _is_sequence(self.earlier_tokens), f"{sequence} of whole numbers"),
            ("depths", _is_sequence(self.depths), f"{sequence} of whole numbers"),
            ("primary", isinstance(self.primary, str), "it must be the name of an arm"),
            ("data", isinstance(self.data, str | os.PathLike), path),
            ("data_dtype", isinstance(self.data_dtype, str | None), "it must be text, or None"),
            ("tokenizer", isinstance(self.tokenizer, str | os.PathLike), path),
        ):
            if not is_right:
                value = getattr(self, name)
                raise InvalidValueError(f"is {value!r:.100}: {remedy}", field=name, value=value)
        check_rate(self.rate)

    def _check_sizes(self) -> None:
        if self.context < 1:
            raise InvalidValueError(
                f"is {self.context}: it must be at least 1", field="context", value=self.context
            )
        if self.context > self.model.context:
            raise InvalidValueError(
                f"is {self.context}, but {self.model.name} has {self.model.context} positions",
                field="context",
                value=self.context,
                remedy=f"use `context` {self.model.context} or less",
            )
        if self.batch_tokens % self.context or self.batch_tokens < 1:
            raise InvalidValueError(
                f"is {self.batch_tokens}: it must be a multiple of `context` {self.context}",
                field="batch_tokens",
                value=self.batch_tokens,
            )
        if self.tokens < self.batch_tokens:
            raise InvalidValueError(
                f"is {self.tokens:,}: it must be at least one step of {self.batch_tokens:,}",
                field="tokens",
                value=self.tokens,
            )
        if self.evaluation.validation_tokens < self.context:
            raise InvalidValueError(
                f"is {self.evaluation.validation_tokens}: it must be at least `context` {self.context}",
                field="validation_tokens",
                value=self.evaluation.validation_tokens,
            )

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.arms]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise InvalidValueError(
                f"repeat the name {min(repeated)!r}: give each arm its own name", field="arms", value=names
            )
        if self.baseline not in names:
            raise InvalidValueError(
                f"{self.baseline!r} is not an arm: use {join_or(names)}",
                field="baseline",
                value=self.baseline,
                allowed=names,
            )
        others = [name for name in names if name != self.baseline]
        if self.primary and self.primary not in others:
            raise InvalidValueError(
                f"{self.primary!r} is not an arm beside the baseline{nearest(self.primary, others)}",
                field="primary",
                value=self.primary,
                remedy=f"use {join_or(others)}" if others else "add an arm",
                allowed=others,
            )

    @property
    def has_trials(self) -> bool:
        """Whether there are trials, which choose something before the study's own seeds are trained."""
        return self.tuning is not None or bool(self.depths)

    @property
    def trials(self) -> Tuning:
        """The trials of each arm and each depth: without `tuning`, one with its rate."""
        return Tuning() if self.tuning is None else self.tuning

    def at_budget(self, tokens: int) -> "Study":
        """The study as it was run with one of its `earlier_tokens`."""
        earlier = tuple(each for each in self.earlier_tokens if each < tokens)
        return replace(self, tokens=tokens, earlier_tokens=earlier)

    def scaled(self, share: float) -> "Study":
        """The study with a share of its budget, in whole steps: rates in tokens and earlier budgets fit that."""
        tokens = max(1, round_to_steps(share * self.tokens, self.batch_tokens)) * self.batch_tokens
        return replace(
            self,
            tokens=tokens,
            earlier_tokens=tuple(each for each in self.earlier_tokens if each < tokens),
            rate=self.rate.scaled(share),
            arms=tuple(arm.scaled(share) for arm in self.arms),
        )

    @property
    def first_budget(self) -> "Study":
        """The study as it was run first."""
        return self.at_budget(min((self.tokens, *self.earlier_tokens)))

    @property
    def mark_tokens(self) -> int:
        """The most validation tokens at a mark: at most those of the first budget, at least those of the curve.

        So the marks of a short run take no longer than its training, and a larger budget keeps the text.
        """
        evaluation = self.evaluation
        return max(evaluation.validation_tokens, min(evaluation.mark_tokens, self.first_budget.tokens))

    @property
    def runs(self) -> int:
        """The number of runs: every arm with every seed."""
        return len(self.arms) * len(self.seeds)

    @property
    def baseline_tokens(self) -> int:
        """The baseline's tokens, rounded to whole steps."""
        return round_to_steps(self.tokens, self.batch_tokens) * self.batch_tokens

    @property
    def ledger(self) -> Ledger:
        """The ledger that prices this study's training, recomputed activations included."""
        return Ledger(
            model=self.model,
            activation_checkpointing=self.settings.activation_checkpointing,
            optimizer=self.settings.optimizer.cost,
        )

    def to_json(self) -> dict[str, Any]:
        """Convert the study to JSON's types: recipes by name and options, rate and optimizer by kind."""
        return fields_to_json(self)

    @staticmethod
    def from_json(content: Any) -> "Study":
        """Read a study that `to_json` wrote.

        Raises:
            InvalidValueError: the content is not a study; the field is the path, such as `arms[1].recipe`.
        """
        return fields_from_json(Study, content)


def _is_sequence(value: object, kind: type = object) -> bool:
    """Whether a value is a sequence whose entries are of a kind; text does not count."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(each, kind) for each in value)
    )

"""The schema of results.json as typed records.

Fields have the names of their keys. To add a key, add a field here and fill it in `collect` or `judge`. In old
files the new key is read as empty, and old versions of deepen ignore it.

    results = load_results("quickstart")
    for arm in results.arms:
        plt.plot([point.flops for point in arm.curve], [point.val_loss for point in arm.curve], label=arm.name)

The file may come from a stranger; see `records` for values that do not fit. Measured numbers are None if they are
missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from deepen.compute.accounting import EXACT_FLOPS, AtBudget
from deepen.schedule.recipes import RECIPES
from deepen.study.results.packed import unpack_answers, unpack_blocks
from deepen.study.results.phases import PhaseResult
from deepen.study.results.records import Record, read_record
from deepen.study.results.regime import Regime
from deepen.study.results.tuning import OptionValue, TuningResult
from deepen.study.results.validation_text import text_stderr
from deepen.study.results.verdict_schema import NO_NOISE as NO_NOISE
from deepen.study.results.verdict_schema import Bound as Bound
from deepen.study.results.verdict_schema import Interval as Interval
from deepen.study.results.verdict_schema import Noise as Noise
from deepen.study.results.verdict_schema import Outcome as Outcome
from deepen.study.results.verdict_schema import TaskComparison as TaskComparison
from deepen.study.results.verdict_schema import TaskTest as TaskTest
from deepen.study.results.verdict_schema import Verdict as Verdict

SCHEMA_VERSION = 1
"""Increased when a key changes its meaning, not when a key is added. Files of deepen 0.1 have no version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint(Record):
    """A point during training; `train_loss` is the mean over the steps since the previous point.

    `lr` is the learning rate of the last step; None in files of older versions.

    There is a point at each validation. In an unfinished run, points without a validation loss follow, up to the
    last step.
    """

    tokens: int
    step: int | None
    flops: float
    seconds: float
    depth: int | None
    phase: str
    lr: float | None
    train_loss: float | None
    val_loss: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthResult(Record):
    """A growth of a run: after how many tokens and FLOPs, and the depth before and after.

    `depth_before` and `depth_after` count executed layers, as `depth` does everywhere. `blocks_before` and
    `blocks_after` count stored blocks, which are fewer where layers share them; None in files of older versions.

    `decayed_to`: the learning rate there as a share of its peak, if it has begun to decay; else None.

    `trigger`: what decided when: "plateau", "latest" where the loss reached none in time, or empty for the recipe.
    """

    tokens: int
    flops: float
    depth_before: int
    depth_after: int
    decayed_to: float | None
    trigger: str
    blocks_before: int | None
    blocks_after: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskScore(Record):
    """A task score at a mark: mean over `n` examples, standard error, and `correct`, a 0 or 1 per example.

    `metrics` has all metrics of the task with their standard errors, such as `acc_norm` and `acc_norm_stderr`, and
    `dtype` is the type in which the model computed them; both are empty in files of older versions.
    """

    value: float | None
    n: int | None
    stderr: float | None
    correct: str | None
    metrics: Mapping[str, float]
    dtype: str

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a score; compact results have `correct` packed."""
        if isinstance(value, cls):
            return value
        score = read_record(cls, value)
        return replace(score, correct=unpack_answers(score.correct)) if score.correct else score


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult(Record):
    """A task score during training; fields as in `TaskScore`."""

    task: str
    tokens: int
    step: int | None
    flops: float
    seconds: float
    value: float | None
    n: int | None
    stderr: float | None
    metrics: Mapping[str, float]
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkResult(AtBudget, Record):
    """An arm at the end of a run with a given budget. `annealed`: its learning rate is fully decayed there.

    `val_loss` is the mean over `val_tokens` tokens of validation text, `val_blocks` the means of its blocks of 16
    windows, in order, and `val_stderr` its standard error over these blocks. In files of older versions it is the
    mean over `Regime.data.validation_tokens`, and the three are empty. `val_bits_per_byte` is the validation loss
    per byte of text; None if the data has no tokenizer.

    `seconds` are those that training took. `steady_seconds` are those of its steps at the median time of each
    kind of step in the study (see `step_times`); None if the study was trained on several devices, and in files of
    older versions.
    """

    accounting: str = EXACT_FLOPS
    budget_share: float | None
    budget_flops: float | None
    tokens: int
    step: int | None
    flops: float
    seconds: float
    steady_seconds: float | None
    val_loss: float | None
    val_tokens: int | None = None
    val_stderr: float | None = None
    val_blocks: tuple[float, ...] = ()
    val_bits_per_byte: float | None
    train_loss: float | None
    annealed: bool
    tasks: Mapping[str, TaskScore]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult(Record):
    """One arm trained with one seed. `is_control`: its purpose is to isolate a cause, not to win.

    `rate` and `peak_lr` are the shape and the peak of its learning rate, and `has_own_rate` whether it differs
    from the regime's; empty in files of deepen 0.1, where no arm has a rate of its own. `trained_share`: the FLOPs
    trained so far ÷ the FLOPs up to all its marks; 1 if it is finished. Curve, growths, tasks and segments are
    those of its longest run; if that is unfinished, they end where training stopped. `batch_ramp` and
    `context_ramp` are ramps as text, such as `0:256,0.5:1024`, and empty without one. `phases` are those of the
    run to the mark at equal compute, as planned where it is unfinished.
    `rate_at_edge`: the trials chose the lowest or the highest of the rates that were tried, so that a better one
    may lie beyond.
    """

    name: str
    recipe: str
    is_control: bool
    options: Mapping[str, OptionValue]
    rate: str
    peak_lr: float | None
    has_own_rate: bool
    seed: int
    segments: tuple[str, ...]
    phases: tuple[PhaseResult, ...]
    curve: tuple[CurvePoint, ...]
    growths: tuple[GrowthResult, ...]
    marks: tuple[MarkResult, ...]
    tasks: tuple[TaskResult, ...]
    peak_memory_bytes: int | None
    trained_share: float | None
    batch_ramp: str
    context_ramp: str
    rate_at_edge: bool = False

    @property
    def has_constant_depth(self) -> bool:
        """Whether all of a model of one depth is trained from start to end; False in files without phases."""
        first, *others = self.phases or (None,)
        return first is not None and all(
            (phase.trained, phase.layers, phase.depth) == ("all", (), first.depth) for phase in (first, *others)
        )

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read an arm; if `is_control` is missing, as in files of deepen 0.1, its recipe decides.

        Compact results have the `val_blocks` of all its marks in one string, `packed_val_blocks`.
        """
        if isinstance(value, cls):
            return value
        arm = read_record(cls, value)
        blocks = unpack_blocks(value.get("packed_val_blocks")) if isinstance(value, Mapping) else None
        if blocks is not None and len(blocks) == len(arm.marks):
            pairs = zip(arm.marks, blocks, strict=True)
            marks = (replace(mark, val_blocks=each, val_stderr=text_stderr(each)) for mark, each in pairs)
            arm = replace(arm, marks=tuple(marks))
        if isinstance(value, Mapping) and "is_control" in value:
            return arm
        return replace(arm, is_control=arm.recipe in RECIPES and RECIPES[arm.recipe].is_control)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing(Record):
    """Tokens trained, and the tokens that the same runs would have trained without shared segments."""

    tokens_trained: int | None
    tokens_if_separate: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Results(Record):
    """The results of a study so far; `arms` has one entry per arm and seed.

    `trained_share`: the FLOPs trained so far ÷ the FLOPs of the whole study; 1 if it is finished. `noise` is the
    noise of `verdicts`. `depth_verdicts` and `depth_noise` are the same comparison with the best fixed depth as
    the baseline; empty where the study has none, or where it is the baseline itself.

    `command` is the command line that ran the study, without folders of its user; empty if a script did.
    `seeds_planned`: how many seeds were planned before the first verdict; no verdict is written with fewer.
    `looks`: the numbers of seeds with which verdicts were written, in order. `primary`: the arm that was declared
    before the first verdict to be the one that the study is about; empty if none was.

    `tuning` has the trials that chose rates, options and the best fixed depth; None in a study without trials.
    `best_fixed_depth` is the name of the arm with the best constant depth; empty if no depths were tried, or none
    is chosen yet.
    """

    schema_version: int = SCHEMA_VERSION
    study: str
    command: str
    baseline: str
    deepen_version: str
    regime: Regime
    noise: Noise
    arms: tuple[ArmResult, ...]
    verdicts: tuple[Verdict, ...]
    depth_verdicts: tuple[Verdict, ...]
    depth_noise: Noise
    sharing: Sharing
    trained_share: float | None
    seeds_planned: int = 0
    looks: tuple[int, ...] = ()
    primary: str = ""
    tuning: TuningResult | None = None
    best_fixed_depth: str = ""

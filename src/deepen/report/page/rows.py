"""The rows of the tables on the page and on the terminal: verdicts, and runs that are unfinished.

Cells are text. The page also draws the interval of a verdict and its seeds, at pixel positions.
"""

from dataclasses import dataclass, replace

from deepen.report import units
from deepen.report.intervals import (
    interval_text,
    multiplier_interval_text,
    multiplier_text,
    seconds_interval_text,
    seconds_multiplier_text,
)
from deepen.report.layout import accounting_note, difference_range, sort_verdicts
from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary.averages import AveragedMark
from deepen.report.summary.study_summary import ArmSummary, SeedRun, StudySummary
from deepen.study.results.schema import Outcome, Verdict

DRAWING_WIDTH = 190
"""Width of the drawing of an interval in each row, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnInterval:
    """A difference, its interval and its seeds in pixels; `clipped_*`: this end is outside the drawing."""

    at: float
    seeds: tuple[float, ...]
    low: float | None
    high: float | None
    clipped_low: bool
    clipped_high: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A verdict, or the baseline. `mark` names a mark other than equal exact FLOPs at the study's budget.

    `budget` is the budget ÷ the study's, if it is another. `heading` is that of the row's budget, where there are
    several. `outcome` is empty at marks where exact FLOPs are not equal, because they decide nothing.
    `is_decisive`: whether the outcome may be emphasized, which it may not for a control, or after few tokens per
    parameter.
    """

    arm: str
    colour: str
    is_exact: bool = True
    mark: str = ""
    heading: str = ""
    budget_share: float = 1.0
    budget: str = ""
    flops_ratio: str = ""
    note: str = ""
    is_baseline: bool = False
    is_control: bool = False
    loss: str
    difference: str
    interval: str
    drawing: DrawnInterval | None
    multiplier: str
    multiplier_interval: str
    seconds_multiplier: str = ""
    seconds_interval: str = ""
    tokens: str
    seconds: str
    memory: str
    outcome: str
    is_decisive: bool = False
    sentence: str


class DrawnRange:
    """The range of differences in the drawings, mapped to 0 to DRAWING_WIDTH pixels."""

    def __init__(self, study: StudySummary) -> None:
        self.low, self.high = difference_range(study)
        half_width = study.noise.half_width
        self.zero = self.pixels(0.0)
        self.band = (self.pixels(-half_width), self.pixels(half_width)) if half_width else None
        """The mean differences that the study cannot tell from zero."""

    def pixels(self, difference: float) -> float:
        """The position of a difference; one outside the range is drawn at the edge."""
        share = (difference - self.low) / (self.high - self.low)
        return round(DRAWING_WIDTH * min(1.0, max(0.0, share)), 1)

    def draw(self, verdict: Verdict) -> DrawnInterval | None:
        """The positions of a verdict; None if it has no difference."""
        if verdict.difference is None:
            return None
        interval = verdict.interval
        return DrawnInterval(
            at=self.pixels(verdict.difference),
            seeds=tuple(
                self.pixels(each)
                for each in verdict.differences
                if len(verdict.differences) > 1 and self.low <= each <= self.high
            ),
            low=self.pixels(interval[0]) if interval else None,
            high=self.pixels(interval[1]) if interval else None,
            clipped_low=interval is not None and interval[0] < self.low,
            clipped_high=interval is not None and interval[1] > self.high,
        )


def make_rows(study: StudySummary) -> list[Row]:
    """The rows of a study's table. Where no multiplier is claimed, none is shown, not even the baseline's."""
    verdicts, drawn_range = sort_verdicts(study), DrawnRange(study)
    places = units.decimal_places([v.difference for v in verdicts if v.difference is not None])
    rows = [_verdict_row(study, verdict, drawn_range, places) for verdict in verdicts]
    if study.baseline and study.baseline_mark:
        rows.insert(0, _baseline_row(study.baseline, study.baseline_mark))
    if not all(verdict.is_whole_budget for verdict in verdicts):
        rows = [replace(row, heading=_budget_heading(study, row.budget_share)) for row in rows]
    if any(verdict.compute_multiplier for verdict in verdicts):
        return rows
    return [replace(row, multiplier="") for row in rows]


def _baseline_row(arm: ArmSummary, mark: AveragedMark) -> Row:
    return Row(
        arm=arm.name,
        colour=arm.colour,
        note=_rate_note(arm),
        is_baseline=True,
        loss=units.fixed(mark.val.mean if mark.val else None),
        difference="0",
        interval="",
        drawing=None,
        multiplier="1",
        multiplier_interval="",
        tokens=units.count(mark.tokens),
        seconds=units.duration(mark.seconds),
        memory=units.memory(arm.peak_memory_bytes),
        outcome="baseline",
        sentence="",
    )


def _verdict_row(study: StudySummary, verdict: Verdict, drawn_range: DrawnRange, places: int) -> Row:
    arm = study.find_arm(verdict.arm)
    note, ratio = accounting_note(verdict), study.exact_flops_ratio(verdict)
    flops_ratio = "" if verdict.is_exact or not ratio else f"{ratio:.2f} ×"
    return Row(
        arm=verdict.arm,
        colour=arm.colour if arm else UNKNOWN_COLOUR,
        is_exact=verdict.is_exact,
        mark=note if verdict.is_whole_budget else "other budgets",
        budget_share=1.0 if verdict.is_whole_budget else verdict.budget_share or 1.0,
        budget="" if verdict.is_whole_budget else f"{verdict.budget_share:.2f} ×",
        flops_ratio=flops_ratio,
        note=_join_notes(
            "" if verdict.is_exact else note,
            f"at {flops_ratio} the FLOPs" if flops_ratio else "",
            _rate_note(arm),
            _depths_note(verdict),
        ),
        is_control=arm is not None and arm.is_control,
        loss=units.fixed(verdict.loss),
        difference=units.signed(verdict.difference, places),
        interval=interval_text(verdict.interval, places),
        drawing=drawn_range.draw(verdict),
        multiplier=multiplier_text(verdict),
        multiplier_interval=multiplier_interval_text(verdict),
        seconds_multiplier=seconds_multiplier_text(verdict),
        seconds_interval=seconds_interval_text(verdict),
        tokens=units.count(verdict.tokens),
        seconds=units.duration(verdict.seconds),
        memory=units.memory(verdict.peak_memory_bytes),
        outcome=(verdict.outcome or "") if verdict.is_exact else "",
        is_decisive=(
            verdict.is_exact
            and verdict.outcome is not Outcome.CANNOT_TELL
            and not study.is_control(verdict)
            and not study.is_undertrained_at(verdict.budget_share)
        ),
        sentence=verdict.sentence,
    )


def _depths_note(verdict: Verdict) -> str:
    """Which constant depths an arm that beats the baseline does not beat; empty if only one was measured."""
    if verdict.outcome is not Outcome.WINS or not verdict.has_other_depths:
        return ""
    if verdict.depths_better:
        return f"worse than {units.join(verdict.depths_better)}"
    if verdict.depths_not_beaten:
        return f"not shown to beat {units.join(verdict.depths_not_beaten)}"
    note = f"beats {units.all_of(len(verdict.depths_beaten), 'constant depth')}"
    if verdict.depths_at_edge:
        note += f"; the rate of {units.join(verdict.depths_at_edge)} is at the edge of those tried"
    return note


def _budget_heading(study: StudySummary, share: float) -> str:
    """A budget as a share of the study's: At 0.50 × the budget, 10 tokens per parameter."""
    ratio = study.regime.tokens_per_parameter
    name = "At the study’s budget" if share == 1 else f"At {share:.2f} × the budget"
    return f"{name}, {units.ratio(share * ratio)} tokens per parameter" if ratio else name


def _rate_note(arm: ArmSummary | None) -> str:
    return f"rate: {arm.own_rate}" if arm and arm.own_rate else ""


def _join_notes(*notes: str) -> str:
    return ", ".join(filter(None, notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRow:
    """An unfinished run of an arm with one seed, as far as it is trained."""

    arm: str
    colour: str
    seed: str
    trained: str
    tokens: str
    seconds: str
    val_loss: str
    train_loss: str


def make_unfinished_rows(study: StudySummary) -> list[UnfinishedRow]:
    """The unfinished runs of a study."""
    return [_unfinished_row(arm, run) for arm in study.arms for run in arm.runs if run.is_unfinished]


def _unfinished_row(arm: ArmSummary, run: SeedRun) -> UnfinishedRow:
    last = run.curve[-1] if run.curve else None
    return UnfinishedRow(
        arm=arm.name,
        colour=arm.colour,
        seed=str(run.seed),
        trained=units.done_percent(run.trained_share or 0.0),
        tokens=units.count(last.tokens if last else None),
        seconds=units.duration(last.seconds if last else None),
        val_loss=units.fixed(run.last_loss("val")),
        train_loss=units.fixed(run.last_loss("train")),
    )

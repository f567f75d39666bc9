"""The results of a study averaged over seeds, for the page and the figures.

The results have one entry per arm and seed; the summary has one per arm, with a colour:

    results   one-shot seed 0: loss 4.10 at 64 tokens     one-shot seed 1: loss 4.20 at 64 tokens
    summary   one-shot: SeedRange(mean=4.15, low=4.10, high=4.20) at 64 tokens
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from deepen.report.style import BASELINE_COLOUR, COLOURS, DASHES
from deepen.report.summary.arm_summary import ArmSummary as ArmSummary
from deepen.report.summary.arm_summary import SeedRun as SeedRun
from deepen.report.summary.arm_summary import summarize_arm, with_steps
from deepen.report.summary.averages import AveragedMark
from deepen.report.summary.decided_growth import describe_decided_growths
from deepen.report.summary.excess import ArmExcess, summarize_excess
from deepen.report.summary.shown_names import with_shown_names
from deepen.report.units import MAX_NAME_LENGTH, cut
from deepen.schedule.recipes import BASELINE
from deepen.study.results.regime import Regime
from deepen.study.results.schema import (
    ArmResult,
    Noise,
    Outcome,
    Results,
    Sharing,
    Verdict,
)
from deepen.study.results.tuning import TuningResult
from deepen.study.results.validation_text import mean_of_part

MAX_SENTENCE_LENGTH = 600
MAX_COMMAND_LENGTH = 2000

COMPUTE_OPTIMAL = (15, 30)
"""The range of tokens per non-embedding parameter that counts as near the compute-optimal 20."""


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """Everything that the page and the figures show; the baseline is the first arm.

    `baseline_words`: the baseline in sentences, "full training" or the arm's name. `primary`, `seeds_planned`,
    `looks`, `best_fixed_depth` and `tuning` are as in `Results`.
    """

    name: str
    command: str
    version: str
    regime: Regime
    noise: Noise
    arms: tuple[ArmSummary, ...]
    verdicts: tuple[Verdict, ...]
    depth_noise: Noise
    depth_verdicts: tuple[Verdict, ...]
    baseline_words: str
    primary: str
    seeds_planned: int
    looks: tuple[int, ...]
    best_fixed_depth: str
    tuning: TuningResult | None
    excess: tuple[ArmExcess, ...]
    decided_growths: tuple[str, ...]
    sharing: Sharing
    trained_share: float | None

    def find_arm(self, name: str) -> ArmSummary | None:
        """The arm with this name; None if it is not among the results."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @cached_property
    def baseline(self) -> ArmSummary | None:
        """The baseline; None if it is not among the results."""
        return next((arm for arm in self.arms if arm.is_baseline), None)

    @cached_property
    def baseline_mark(self) -> AveragedMark | None:
        """The baseline at its whole budget; None if it is not trained."""
        return self.baseline.mark_at_equal_compute if self.baseline else None

    @cached_property
    def against_best_depth(self) -> "StudySummary | None":
        """The same study with its best fixed depth as the baseline; None if it was not compared with one."""
        if not self.depth_verdicts:
            return None
        best = self.depth_verdicts[0].baseline
        return replace(
            self,
            arms=tuple(replace(arm, is_baseline=arm.name == best) for arm in self.arms),
            noise=self.depth_noise,
            verdicts=tuple(v for v in self.depth_verdicts if v.is_exact),
            depth_verdicts=(),
            baseline_words=best,
        )

    @property
    def baseline_is_best_depth(self) -> bool:
        """Whether the baseline is the best fixed depth of the trials, so that there is no second baseline."""
        return self.baseline is not None and self.baseline.name == self.best_fixed_depth

    @cached_property
    def draws_marks_on_curve_text(self) -> bool:
        """Whether charts of curves show the marks on the text of the curves, which is shorter than theirs."""
        return any(mark.curve_val for arm in self.arms for mark in arm.marks)

    @property
    def is_undertrained(self) -> bool:
        """Whether the baseline saw so few tokens that almost anything that grows looks good."""
        return self.is_undertrained_at(1.0)

    def is_undertrained_at(self, budget_share: float | None) -> bool:
        """Whether that is so at a share of the study's budget; None for the whole budget."""
        ratio = self.regime.tokens_per_parameter
        return ratio is not None and ratio * (budget_share or 1.0) < COMPUTE_OPTIMAL[0]

    def is_control(self, verdict: Verdict) -> bool:
        """Whether the arm of a verdict isolates a cause, so that it is not there to win."""
        arm = self.find_arm(verdict.arm)
        return arm is not None and arm.is_control

    @property
    def finished_seeds(self) -> int:
        """The number of seeds with which every arm is trained at equal compute."""
        return len(set.intersection(*(set(arm.losses_at_equal_compute) for arm in self.arms))) if self.arms else 0

    def choose(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdict on the primary arm alone if one was declared and is among these; else those on all arms."""
        return [v for v in verdicts if v.arm == self.primary] or self.without_controls(verdicts)

    def without_controls(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts on arms that are there to win; all verdicts where there are only controls."""
        return [v for v in verdicts if not self.is_control(v)] or list(verdicts)

    @property
    def exact_verdicts(self) -> list[Verdict]:
        """The verdicts at equal exact FLOPs and at the study's budget."""
        return [v for v in self.verdicts if v.is_exact and v.is_whole_budget and v.difference is not None]

    def shows(self, verdict: Verdict) -> bool:
        """Whether a verdict is shown: one at a budget at which only baselines and controls are compared is not."""
        if verdict.is_whole_budget:
            return True
        to_win = [v for v in self.verdicts if not self.is_control(v) and v.arm != BASELINE.name]
        return not to_win or verdict.budget_share in {v.budget_share for v in to_win}

    def exact_flops_ratio(self, verdict: Verdict) -> float | None:
        """The exact FLOPs of an arm at the mark of a verdict ÷ the baseline's."""
        arm, base = self.find_arm(verdict.arm), self.baseline_mark
        marks = arm.marks if arm else ()
        mark = next((m for m in marks if m.accounting == verdict.accounting and m.is_whole_budget), None)
        return mark.flops / base.flops if mark and base and base.flops else None

    @property
    def is_single_arm(self) -> bool:
        """Whether there is only the baseline, so that nothing is compared."""
        return [arm.is_baseline for arm in self.arms] == [True] and not self.verdicts

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that any arm was evaluated on, in the order of the results."""
        return tuple(dict.fromkeys(task for arm in self.arms for task in arm.tasks))


def summarize(results: Results) -> StudySummary:
    """Average the results of a study over seeds; long names and sentences are shortened."""
    results = with_shown_names(results)
    seeds_by_name: dict[str, list[ArmResult]] = {}
    for arm in results.arms:
        seeds_by_name.setdefault(arm.name, []).append(with_steps(arm, results.regime.batch_tokens))
    baseline, windows = results.baseline, _curve_windows(results)
    others = [name for name in seeds_by_name if name != baseline]
    arms = [_summarize_other(name, seeds_by_name[name], rank, windows) for rank, name in enumerate(others)]
    if baseline in seeds_by_name:
        seeds = seeds_by_name[baseline]
        first = summarize_arm(baseline, seeds, BASELINE_COLOUR, "solid", is_baseline=True, curve_windows=windows)
        arms.insert(0, first)
    return StudySummary(
        name=cut(results.study, MAX_NAME_LENGTH) if results.study else "study",
        command=cut(results.command, MAX_COMMAND_LENGTH),
        version=cut(results.deepen_version, MAX_NAME_LENGTH),
        regime=results.regime,
        noise=results.noise,
        arms=tuple(arms),
        verdicts=_shorten(results.verdicts),
        depth_noise=results.depth_noise,
        depth_verdicts=_shorten(results.depth_verdicts),
        primary=results.primary,
        seeds_planned=results.seeds_planned,
        looks=results.looks,
        best_fixed_depth=results.best_fixed_depth,
        tuning=results.tuning,
        baseline_words=_name_baseline(baseline, seeds_by_name.get(baseline, ())),
        excess=summarize_excess(results),
        decided_growths=tuple(
            sentence for name, seeds in seeds_by_name.items() for sentence in describe_decided_growths(name, seeds)
        ),
        sharing=results.sharing,
        trained_share=results.trained_share,
    )


def _shorten(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    return tuple(
        replace(
            verdict,
            accounting=cut(verdict.accounting, MAX_NAME_LENGTH),
            sentence=cut(verdict.sentence, MAX_SENTENCE_LENGTH),
            multiplier_withheld=cut(verdict.multiplier_withheld, MAX_SENTENCE_LENGTH),
        )
        for verdict in verdicts
    )


def _name_baseline(name: str, seeds: Sequence[ArmResult]) -> str:
    is_full = name == BASELINE.name or not seeds or seeds[0].recipe == BASELINE.name
    return "full training" if is_full else name


def _curve_windows(results: Results) -> int:
    """Windows of validation text at the points of the curves; 0 unless all marks can be measured on that part."""
    data, context = results.regime.data, results.regime.context
    if not data.has_longer_text_at_marks or not context:
        return 0
    windows = (data.validation_tokens or 0) // context
    marks = (mark for arm in results.arms for mark in arm.marks)
    return windows if all(mean_of_part(mark.val_blocks, windows) is not None for mark in marks) else 0


def _summarize_other(name: str, seeds: Sequence[ArmResult], rank: int, curve_windows: int) -> ArmSummary:
    """Summarize an arm other than the baseline; `rank` chooses its colour and dash."""
    colour, dash = COLOURS[rank % len(COLOURS)], DASHES[rank // len(COLOURS) % len(DASHES)]
    return summarize_arm(name, seeds, colour, dash, is_baseline=False, curve_windows=curve_windows)


def with_outcome(verdicts: Sequence[Verdict], outcome: Outcome) -> list[Verdict]:
    """The verdicts with an outcome."""
    return [v for v in verdicts if v.outcome is outcome]


def by_difference(verdict: Verdict) -> float:
    """The difference in loss, to sort verdicts by."""
    return verdict.difference or 0.0

"""The verdicts of a study, and the end of an arm, on a terminal."""

from pathlib import Path
from statistics import fmean

from deepen.cli.output.tables import numbers, print_lines, print_table, text
from deepen.study.results.schema import ArmResult, Bound, Results, Verdict

ACCOUNTINGS = {"flops": "exact FLOPs", "paper": "paper's mark", "tokens": "tokens"}


def print_results(results: Results, out: Path) -> None:
    """Print the table of verdicts, their sentences, and where the report is."""
    columns = (
        text("arm"),
        text("equal"),
        numbers("loss"),
        numbers("difference"),
        numbers("95 % interval"),
        numbers("multiplier"),
        numbers("tokens"),
        numbers("seconds"),
        numbers("peak MB"),
    )
    rows = [*_baseline_rows(results), *(_verdict_row(verdict) for verdict in results.verdicts)]
    print_table(f"{results.study}: validation loss at equal compute", columns, rows)
    noise, sharing, regime = results.noise, results.sharing, results.regime
    lines = [verdict.sentence for verdict in results.verdicts]
    if noise.baseline_seed_std is not None:
        residual_std = 0.0 if noise.residual_std is None else noise.residual_std
        lines.append(
            f"Noise: the baseline's loss has a standard deviation of {noise.baseline_seed_std:.4f} between seeds; "
            f"the residuals of all arms, once the means of arm and seed are subtracted, one of {residual_std:.4f} "
            f"({noise.degrees_of_freedom} degrees of freedom)."
        )
    lines += [
        f"Regime: {regime.model}, {regime.tokens_per_parameter:.1f} tokens per non-embedding parameter.",
        f"Sharing: {sharing.tokens_trained:,} tokens trained instead of {sharing.tokens_if_separate:,}.",
        f"Wall time: {regime.wall_seconds:.0f} s.",
        f"Report: {out / 'report' / 'index.html'}",
    ]
    print_lines(lines)


def print_arm(arm: ArmResult, out: Path) -> None:
    """Print where an arm ended, and where its state and its report are."""
    mark = arm.marks[0]
    print_lines([
        f"{arm.name}: {mark.step:,} steps, {mark.tokens:,} tokens, {mark.flops:.4g} FLOPs, {mark.seconds:.0f} s; "
        f"training loss {mark.train_loss:.4f}, validation loss {mark.val_loss:.4f}",
        f"state: {out / 'segments' / arm.segments[-1] / 'state'}",
        f"report: {out / 'report' / 'index.html'}",
    ])  # fmt: skip


def _baseline_rows(results: Results) -> list[tuple[str, ...]]:
    arms = [arm for arm in results.arms if arm.name == results.baseline]
    marks = [mark for arm in arms for mark in arm.marks if mark.budget_share == 1.0]
    if not marks:
        return []
    return [
        (
            results.baseline,
            "baseline",
            _number(fmean(mark.val_loss for mark in marks if mark.val_loss is not None), ".4f"),
            "",
            "",
            "1.00",
            _number(fmean(mark.tokens for mark in marks), ",.0f"),
            _number(fmean(mark.seconds for mark in marks), ".0f"),
            _megabytes(max(arm.peak_memory_bytes or 0 for arm in arms)),
        )
    ]


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    bound = {Bound.ABOVE: "> ", Bound.BELOW: "< ", None: ""}[verdict.multiplier_bound]
    interval = verdict.interval
    return (
        verdict.arm,
        _mark_label(verdict),
        _number(verdict.loss, ".4f"),
        _number(verdict.difference, "+.4f"),
        "one seed" if interval is None else f"{interval[0]:+.4f} {interval[1]:+.4f}",
        "–" if verdict.compute_multiplier is None else f"{bound}{verdict.compute_multiplier:.2f}",
        _number(verdict.tokens, ",d"),
        _number(verdict.seconds, ".0f"),
        _megabytes(verdict.peak_memory_bytes),
    )


def _mark_label(verdict: Verdict) -> str:
    label = ACCOUNTINGS.get(verdict.accounting, verdict.accounting)
    return label if verdict.is_whole_budget else f"{label}, {verdict.budget_share:.2f} ×"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _megabytes(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:.0f}"

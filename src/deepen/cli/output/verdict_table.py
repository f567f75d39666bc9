"""The verdicts of a study, on a terminal."""

import statistics
from pathlib import Path
from typing import Any

from deepen.cli.output.tables import print_lines, print_table


def print_results(results: dict[str, Any], out: Path) -> None:
    """The verdict table, the sentences, and where the report is."""
    columns = (
        "<arm",
        "<equal",
        "loss",
        "difference",
        "95 % interval",
        "multiplier",
        "tokens",
        "seconds",
        "peak MB",
    )
    rows = [*_baseline_rows(results), *(_verdict_row(verdict) for verdict in results["verdicts"])]
    print_table(f"{results['study']}: validation loss at equal compute", columns, rows)
    noise, sharing, regime = results["noise"], results["sharing"], results["regime"]
    lines = [verdict["sentence"] for verdict in results["verdicts"]]
    if noise["baseline_seed_std"] is not None:
        lines.append(
            f"Noise: standard deviation of the baseline's loss between seeds {noise['baseline_seed_std']:.4f}; "
            f"residual spread over all arms {noise['residual_std'] or 0:.4f} "
            f"({noise['degrees_of_freedom']} degrees of freedom)."
        )
    lines += [
        f"Regime: {regime['model']}, {regime['tokens_per_parameter']:.1f} tokens per non-embedding parameter.",
        f"Sharing: {sharing['tokens_trained']:,} tokens trained instead of {sharing['tokens_if_separate']:,}.",
        f"Wall time: {regime['wall_seconds']:.0f} s.",
        f"Report: {out / 'report' / 'index.html'}",
    ]
    print_lines(lines)


def _baseline_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    arms = [arm for arm in results["arms"] if arm["name"] == results["baseline"]]
    marks = [mark for arm in arms for mark in arm["marks"] if mark["budget_share"] == 1.0]
    if not marks:
        return []
    loss, tokens, seconds = (statistics.fmean(m[key] for m in marks) for key in ("val_loss", "tokens", "seconds"))
    peak = max(arm["peak_memory_bytes"] for arm in arms)
    name = results["baseline"]
    return [
        (
            name,
            "baseline",
            f"{loss:.4f}",
            "",
            "",
            "1.00",
            f"{tokens:,.0f}",
            f"{seconds:.0f}",
            f"{peak / 1e6:.0f}",
        )
    ]


def _verdict_row(verdict: dict[str, Any]) -> tuple[str, ...]:
    interval, multiplier = verdict["interval"], verdict["compute_multiplier"]
    bound = {"above": "> ", "below": "< ", None: ""}[verdict["multiplier_bound"]]
    return (
        verdict["arm"],
        {"flops": "exact FLOPs", "paper": "paper's mark"}[verdict["accounting"]],
        f"{verdict['loss']:.4f}",
        f"{verdict['difference']:+.4f}",
        f"{interval[0]:+.4f} {interval[1]:+.4f}" if interval else "one seed",
        f"{bound}{multiplier:.2f}" if multiplier else "–",
        f"{verdict['tokens']:,}",
        f"{verdict['seconds']:.0f}",
        f"{verdict['peak_memory_bytes'] / 1e6:.0f}",
    )

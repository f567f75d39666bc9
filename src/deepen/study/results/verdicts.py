"""Verdicts: one per arm and accounting, with a sentence that says no more than the numbers do."""

import statistics
from collections import defaultdict
from typing import Any

from deepen.study.results.statistics import (
    Interval,
    Multiplier,
    SeedNoise,
    bootstrap_interval,
    compute_multiplier,
    mcnemar,
    own_interval,
    pooled_interval,
    seed_noise,
)

Result = dict[str, Any]


def judge(arms: list[Result], baseline: str) -> tuple[list[Result], SeedNoise]:
    """Verdicts of all arms against the baseline, and the seed noise they rest on.

    Args:
        arms: the `arms` of results.json, one for each arm and seed.
        baseline: name of the baseline arm.
    """
    at_marks: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for arm in arms:
        for mark in arm["marks"]:
            if mark["budget_share"] == 1.0:
                at_marks[arm["name"], mark["accounting"]][arm["seed"]] = arm | {"mark": mark}
    reference = at_marks.pop((baseline, "flops"), {})
    if not reference:
        return [], SeedNoise(baseline_std=None, residual_std=None, degrees_of_freedom=0)
    complete = {key: by_seed for key, by_seed in at_marks.items() if by_seed.keys() == reference.keys()}
    equal_flops = {
        name: [by_seed[seed]["mark"]["val_loss"] for seed in reference]
        for (name, accounting), by_seed in {(baseline, "flops"): reference, **complete}.items()
        if accounting == "flops"
    }
    noise = seed_noise(equal_flops, baseline)
    curve = _baseline_curve(arms, baseline)
    verdicts = [
        _verdict(name, accounting, by_seed, reference, noise, curve)
        for (name, accounting), by_seed in complete.items()
    ]
    return verdicts, noise


def _baseline_curve(arms: list[Result], baseline: str) -> list[tuple[float, float]]:
    """(FLOPs, mean loss) of the baseline at its marks; along its curve where no rate was decayed."""
    points: dict[float, list[float]] = defaultdict(list)
    for arm in (arm for arm in arms if arm["name"] == baseline):
        annealed = any(mark["annealed"] for mark in arm["marks"])
        for point in arm["marks"] if annealed else arm["curve"]:
            points[point["flops"]].append(point["val_loss"])
    return [(flops, statistics.fmean(losses)) for flops, losses in sorted(points.items())]


def _verdict(
    name: str,
    accounting: str,
    by_seed: dict[int, Result],
    reference: dict[int, Result],
    noise: SeedNoise,
    curve: list[tuple[float, float]],
) -> Result:
    marks = {seed: result["mark"] for seed, result in by_seed.items()}
    base = {seed: result["mark"] for seed, result in reference.items()}
    differences = [marks[seed]["val_loss"] - base[seed]["val_loss"] for seed in base]
    difference = statistics.fmean(differences)
    interval = pooled_interval(differences, noise)
    base_loss = statistics.fmean(mark["val_loss"] for mark in base.values())
    flops = statistics.fmean(mark["flops"] for mark in marks.values())
    xs, ys = [point[0] for point in curve], [point[1] for point in curve]
    multiplier = compute_multiplier(base_loss + difference, flops, xs, ys)
    ends = interval and [compute_multiplier(base_loss + end, flops, xs, ys) for end in reversed(interval)]
    outcome = _outcome(interval)
    tasks: dict[str, list[Result]] = {}
    for seed, mark in marks.items():
        for task, score in mark["tasks"].items():
            if "correct" in score and task in base[seed]["tasks"]:
                gain, p = mcnemar(score["correct"], base[seed]["tasks"][task]["correct"])
                tasks.setdefault(task, []).append({"seed": seed, "difference": gain, "mcnemar_p": p})
    return {
        "arm": name,
        "accounting": accounting,
        "budget_flops": next(iter(marks.values()))["budget_flops"],
        "n_seeds": len(marks),
        "loss": base_loss + difference,
        "difference": difference,
        "interval": interval,
        "interval_own_seeds": own_interval(differences),
        "interval_bootstrap": bootstrap_interval(differences),
        "compute_multiplier": multiplier and multiplier.value,
        "multiplier_interval": [end.value for end in ends if end] if ends and all(ends) else None,
        "multiplier_interval_bounds": [end.bound for end in ends if end] if ends and all(ends) else None,
        "multiplier_bound": multiplier and multiplier.bound,
        "tokens": next(iter(marks.values()))["tokens"],
        "flops": flops,
        "seconds": statistics.fmean(mark["seconds"] for mark in marks.values()),
        "peak_memory_bytes": max(result["peak_memory_bytes"] for result in by_seed.values()),
        "tasks": tasks,
        "outcome": outcome,
        "sentence": _sentence(name, accounting, outcome, difference, interval, multiplier, marks, base),
    }


def _outcome(interval: Interval | None) -> str:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "wins" if interval[1] < 0 else "loses"


def _sentence(
    name: str,
    accounting: str,
    outcome: str,
    difference: float,
    interval: Interval | None,
    multiplier: Multiplier | None,
    marks: dict[int, Result],
    base: dict[int, Result],
) -> str:
    where = "at equal exact FLOPs"
    if accounting == "paper":
        more = statistics.fmean(m["flops"] for m in marks.values()) / statistics.fmean(
            m["flops"] for m in base.values()
        )
        where = f"at the paper's own mark ({100 * (more - 1):+.1f} % exact FLOPs)"
    size = f"{abs(difference):.3f} nats {'below' if difference < 0 else 'above'} the baseline"
    if outcome == "cannot tell":
        why = "one seed gives no interval" if interval is None else f"95 % interval {_range(interval)}"
        return f"{name}: cannot tell {where} whether it pays: its loss is {size} ({why})."
    text = f"{name} {outcome} {where}: its loss is {size} (95 % interval {_range(interval)})"
    if multiplier is None:
        return f"{text}. There is no compute multiplier: the baseline was not measured at several budgets."
    limit = {"above": "more than ", "below": "less than ", None: ""}[multiplier.bound]
    return f"{text}; the baseline would need {limit}{multiplier.value:.2f} times the compute for it."


def _range(interval: Interval | None) -> str:
    assert interval is not None
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"

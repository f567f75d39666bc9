"""What the page and the static figures must agree on: ranges, row order, labels."""

from __future__ import annotations

import numpy as np

from deepen.report.results import Study, Verdict
from deepen.report.units import NONE, plain

CHANCE = {"hellaswag": 0.25, "blimp": 0.5}
TITLES = {"hellaswag": "HellaSwag", "blimp": "BLiMP"}


def task_title(task: str) -> str:
    """A task's name as its authors write it."""
    return TITLES.get(task, task)


def shortened(name: str, longest: int = 22) -> str:
    """A name for a legend or an axis; matplotlib would drop one that starts with an underscore."""
    shown = name if len(name) <= longest else name[: longest - 1] + "…"
    return " " + shown if shown.startswith("_") else shown


def loss_window(study: Study, quantity: str) -> tuple[float, float] | None:
    """The losses to show: the start of training is cut so that arms can be told apart at its end.

    `quantity` is 'val' or 'train'. None where nothing was measured.
    """
    curves = [[b for p in arm.curve if (b := getattr(p, quantity))] for arm in study.arms]
    marks = [b for arm in study.arms for m in arm.marks if (b := getattr(m, quantity))]
    means = [band.mean for curve in curves for band in curve] + [band.mean for band in marks]
    if not means:
        return None
    low = min([band.low for curve in curves for band in curve] + [band.low for band in marks])
    # An arm that diverged must not flatten all the others: ends are kept in view up to the 95th percentile.
    high, rare = (float(np.quantile(means, q)) for q in (0.70, 0.95))
    high = max([high] + [e for e in (*(c[-1].high for c in curves if c), *(b.high for b in marks)) if e <= rare])
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def verdict_rows(study: Study) -> list[Verdict]:
    """Verdicts in the order of the arms, exact FLOPs before other accountings."""
    order = {arm.name: i for i, arm in enumerate(study.arms)}
    return sorted(study.verdicts, key=lambda v: (order.get(v.arm, len(order)), v.accounting != "flops"))


def difference_range(study: Study) -> tuple[float, float]:
    """The span of a plot of differences: zero and every point inside, very wide intervals clipped."""
    rows = [v for v in study.verdicts if v.difference is not None]
    floor = study.noise_floor or 0.0
    reach = 2 * max([abs(v.difference or 0.0) for v in rows] + [floor])
    ends = [min(max(end, -reach), reach) for v in rows for end in (*(v.interval or ()), v.difference or 0.0)]
    low, high = min([*ends, -1.5 * floor]), max([*ends, 1.5 * floor])
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def accounting_note(verdict: Verdict) -> str:
    """How a row is called whose mark is not the one at equal exact FLOPs."""
    if verdict.accounting == "flops":
        return ""
    return "the paper’s mark" if verdict.accounting == "paper" else f"{verdict.accounting} mark"


def multiplier_text(verdict: Verdict) -> str:
    """A compute multiplier: 1.18×, or a bound: > 1.40×."""
    if verdict.multiplier is None:
        return NONE
    bound = {"above": "> ", "below": "< "}.get(verdict.multiplier_bound or "", "")
    return f"{bound}{plain(verdict.multiplier, 2)}×"

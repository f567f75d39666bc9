"""Studies with verdicts that are written down, for what is said of them."""

from typing import Any

from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.words.finding import Finding, describe_finding
from deepen.study.results.schema import Results

DIFFERENCES = {"wins": -0.05, "loses": 0.05, "cannot tell": 0.001}


def arm(name: str, *, depth: int = 12, loss: float = 4.0, annealed: bool = True, is_control: bool = False) -> Any:
    """An arm with one seed, at equal compute."""
    place = {"tokens": 64, "step": 2, "flops": 1000, "seconds": 1.0, "val_loss": loss, "depth": depth}
    mark = place | {"accounting": "flops", "budget_share": 1.0, "annealed": annealed}
    return {"name": name, "recipe": "x", "seed": 0, "is_control": is_control, "curve": [place], "marks": [mark]}


def verdict(name: str, outcome: str, **more: Any) -> dict[str, Any]:
    """A verdict at equal exact FLOPs, with an interval that allows for its outcome."""
    difference = DIFFERENCES[outcome]
    return {
        "arm": name, "accounting": "flops", "n_seeds": 3, "loss": 4.0 + difference, "difference": difference,
        "interval": [difference - 0.02, difference + 0.02], "outcome": outcome, "compute_multiplier": 1.25,
    } | more  # fmt: skip


def study(*verdicts: dict[str, Any], arms: tuple[Any, ...] = (), **more: Any) -> StudySummary:
    """A study of full training and these arms."""
    regime = {"depth": 12, "parameters": 124e6, "baseline_tokens": 1e9, "data": {"name": "words"}}
    content = {"baseline": "full", "arms": [arm("full"), *arms], "verdicts": verdicts, "regime": regime} | more
    return summarize(Results.from_json(content))


def find(*outcomes: str) -> Finding:
    """The finding of a study whose arms have these outcomes."""
    return describe_finding(study(*(verdict(f"arm {i}", outcome) for i, outcome in enumerate(outcomes))))

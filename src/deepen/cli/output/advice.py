"""The advice of `deepen advise`, for people."""

from typing import Any

from deepen.cli.output.plan_answer import format_hours, format_money
from deepen.cli.output.tables import numbers, print_lines, print_sentences, print_table, short, text
from deepen.report.units import counted

_CEILING = "if a token teaches a growing model no more than full training does"


def print_advice(advice: dict[str, Any]) -> None:
    """Print advice, as `describe_advice` describes it: the conclusion last."""
    model, full = advice["model"], advice["full_training"]
    print_sentences([
        f"{model['name']}: {counted(model['depth'], 'block')} of width {model['width']:,}, "
        f"{short(model['parameters_non_embedding'])} parameters without embeddings",
        f"Full training on {short(advice['tokens'])} tokens, {advice['tokens_per_parameter']:.3g} for each "
        f"parameter: {full['flops']:.4g} FLOPs{_amounts(full)}",
        _describe_map(advice),
        "",
    ])  # fmt: skip
    if advice["arms"]:
        columns = [
            text("recipe"),
            numbers("multiplier"),
            numbers("95 % for all"),
            numbers("ceiling"),
            numbers("saves"),
            numbers("wins in cells"),
            numbers("and against every constant depth"),
        ]
        print_table("Compute multipliers that the map predicts", columns, map(_row, advice["arms"]))
    elif not advice["ceilings"]:
        print_sentences(
            [f"No recipe of deepen's grows to {counted(model['depth'], 'block')}: a deeper model can be grown."]
        )
    else:
        print_table(
            f"What recipes could save at most, by the ledger alone, {_CEILING}",
            (text("recipe"), numbers("ceiling of the multiplier"), numbers("saves at most")),
            ((name, f"{most:.2f}", f"{100 * (1 - 1 / most):.0f} %") for name, most in advice["ceilings"].items()),
        )
    print_sentences(_conclude(advice), indent=10)
    if test := advice["test"]:
        minutes = max(1, round(test["seconds_on_two_cores"] / 60))
        duration = counted(minutes, "minute") if minutes < 120 else counted(round(minutes / 60), "hour")
        print_sentences([
            f"test      this study tests it on a small model of as many blocks: at most {test['flops']:.2g} "
            f"FLOPs, an estimated {duration} on two CPU cores. What holds for a small model need not hold for a "
            "large one",
        ], indent=10)  # fmt: skip
        print_lines([f"          {test['command']}"])


def _describe_map(advice: dict[str, Any]) -> str:
    which = "the one that ships with deepen (docs/results/map.md)" if advice["map"] is None else advice["map"]
    return f"Map: {which}, measured on {advice['map_device']}"


def _row(arm: dict[str, Any]) -> list[str]:
    options = ", ".join(f"{name} {value}" for name, value in arm["options"].items())
    name = f"{arm['arm']}{' (control)' if arm['is_control'] else ''}" + (f"\n{options}" if options else "")
    mark = " *" if arm["outside"] else ""
    return [
        name,
        f"{arm['multiplier']:.2f}{mark}",
        "unknown" if arm["interval"] is None else _interval(arm["interval"]),
        "" if arm["ceiling"] is None else f"{arm['ceiling']:.2f}",
        "–" if arm["exceeds_ceiling"] else f"{100 * arm['saved']['share']:.0f} %",
        f"{arm['wins']} of {arm['cells']}",
        _describe_depth_wins(arm),
    ]


def _describe_depth_wins(arm: dict[str, Any]) -> str:
    compared = arm["compared_with_best_fixed_depth"]
    return f"{arm['wins_against_best_fixed_depth']} of {compared}" if compared else "not compared"


def _conclude(advice: dict[str, Any]) -> list[str]:
    """The conclusion with its reasons, and what would be saved."""
    best = next((arm for arm in advice["arms"] if not arm["is_control"]), None)
    lines = []
    if any(arm["outside"] for arm in advice["arms"]):
        lines.append("* an extrapolation: the model or the budget lies outside what was measured")
    if advice["arms"]:
        lines.append(f"ceiling   the multiplier {_CEILING}")
    what = advice["conclusion"] if best is None else f"{advice['conclusion']}: {best['arm']}"
    lines.append(f"advice    {what}")
    lines += [f"          - {reason}" for reason in advice["reasons"]]
    if best is not None and best["exceeds_ceiling"]:
        lines.append("saving    none is stated, as the multiplier is extrapolated beyond its ceiling")
    elif best is not None and best["multiplier"] > 1:
        saved = best["saved"]
        interval = saved["share_interval"]
        within = "" if interval is None else f" (95 %: {' to '.join(map(_describe_saving, interval))})"
        lines.append(
            f"saving    if this multiplier holds, {best['arm']} reaches the loss of that full training with "
            f"{_describe_saving(saved['share'])} compute{within}: {saved['flops']:.3g} FLOPs{_amounts(saved)}"
        )
        if best["seconds_factor"] is not None:
            lines.append(
                f"          in seconds, measured on {advice['map_device']}, the multiplier was "
                f"{best['seconds_factor']:.2f} times that in FLOPs"
            )
    return lines


def _describe_saving(share: float) -> str:
    return f"{100 * abs(share):.0f} % {'less' if share >= 0 else 'more'}"


def _amounts(amounts: dict[str, Any]) -> str:
    """Hours and cost, where they are known."""
    words = "" if amounts["hours"] is None else f", {format_hours(amounts['hours'])} h"
    return words if amounts["cost"] is None else f"{words}, {format_money(amounts['cost'])}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"

"""The answer of a plan, in its first lines: what growing saves at equal tokens, and what a pilot of it costs."""

from typing import Any

from deepen.cli.output.tables import print_lines, print_sentences, short
from deepen.report.units import counted

_FOR_MONEY = "for hours name a --device, or figures of --bench; for money also its --price-per-hour"


def print_answer(plan: dict[str, Any]) -> None:
    """Print what the recipe saves at equal tokens, how a pilot checks its loss, and whether the time is enough."""
    print_sentences([*_title(plan), ""])
    print_sentences(_saving(plan), indent=10)
    if pilot := plan["pilot"]:
        print_sentences([_describe_pilot(pilot, plan["time"])], indent=10)
        print_lines([f"          {pilot['command']}"])
    print_sentences([*_limit(plan), ""], indent=10)


def _saving(plan: dict[str, Any]) -> list[str]:
    equal, baseline = plan["equal_tokens"], plan["against"]
    if equal is None:
        return []
    full, saved, cost = equal["baseline"], equal["saved"], equal["cost"] is not None
    amounts = [f"{equal['flops']:.4g} of {full['flops']:.4g} FLOPs"]
    amounts += [f"{format_hours(equal['hours'])} of {format_hours(full['hours'])} h"] if plan["time"] else []
    amounts += [f"{format_money(equal['cost'])} of {format_money(full['cost'])}"] if cost else []
    less = [f"{format_hours(saved['hours'])} h"] if plan["time"] else [f"{saved['flops']:.4g} FLOPs"]
    less += [format_money(saved["cost"])] if cost else []
    lines = [
        f"saving    at equal tokens, {short(equal['tokens'])}, {plan['run']} costs "
        f"{100 * equal['flops_share']:.1f} % of {baseline}: {', '.join(amounts)}; saved: {' and '.join(less)}"
    ]
    if time := plan["time"]:
        share = f"{100 * time['mfu']:.3g} % of the device's peak" if time["mfu"] else "the figures of a bench"
        lines.append(
            f"          hours{' and cost' if cost else ''} are an estimate: training steps alone, at {share}"
        )
    else:
        lines.append(f"          {_FOR_MONEY}")
    return lines


def _describe_pilot(pilot: dict[str, Any], time: dict[str, Any] | None) -> str:
    hours = pilot["seconds_on_two_cores"] / 3600
    duration = counted(max(1, round(60 * hours)), "minute") if hours < 2 else counted(round(hours), "hour")
    price = time["price_per_hour"] if time else None
    cost = "" if price is None else f", {format_money(hours * price)} if a device is rented for as long"
    return (
        f"pilot     whether its loss is as good is not known. The next line compares both on {pilot['model']}: at "
        f"most {pilot['flops']:.2g} FLOPs, an estimated {duration} on two CPU cores{cost}. What holds for a small "
        "model need not hold for a large one"
    )


def _limit(plan: dict[str, Any]) -> list[str]:
    """How many times the runs fit into the time that there is."""
    if plan["limit"] is None:
        return []
    names = {
        "baseline": plan["against_run"],
        "equal_tokens": f"{plan['run']} at equal tokens",
        "equal_compute": f"{plan['run']} at equal compute",
    }
    fits = {name: times for name, times in plan["limit"]["fits"].items() if times is not None}
    parts = [f"{names[name]} {_describe_fit(times)}" for name, times in fits.items()]
    return [f"limit     {plan['limit']['hours']:,.10g} h: {'; '.join(parts)}"]


def _describe_fit(times: float) -> str:
    """How many times a run fits; one that does not, takes several times the limit."""
    return (
        f"fits {_format_times(times)}" if times >= 1 else f"does not fit: it takes {1 / times:,.3g} times as long"
    )


def _format_times(times: float) -> str:
    """How often, to three figures: once, 1.5 times."""
    return "once" if f"{times:.3g}" == "1" else f"{times:,.3g} times"


def _title(plan: dict[str, Any]) -> list[str]:
    model = plan["model"]
    grouped = f", {model['kv_heads']} of keys" if model["kv_heads"] < model["heads"] else ""
    wide = f" of {model['head_width']}" if model["head_width"] * model["heads"] != model["width"] else ""
    scales = "" if model["parametrization"] == "standard" else f", {model['parametrization']}"
    return [
        f"{plan['recipe']} on {model['name']}: {counted(model['depth'], 'block')} of width {model['width']:,}, "
        f"{counted(model['heads'], 'head')}{wide}{grouped}, MLP {model['mlp']:,}, vocabulary {model['vocab']:,}"
        f"{scales}",
        f"{model['parameters']:,} parameters, {model['parameters_non_embedding']:,} without embeddings",
    ]


def format_hours(count: float) -> str:
    """Hours to three figures."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def format_money(count: float) -> str:
    """An amount in the currency that the price was given in."""
    return f"{count:,.2f}"

"""A plan for people: phases with bars, marks side by side, memory, time, and how far each accounting is off."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from deepen.cli.output.plan_answer import format_hours, format_money, print_answer
from deepen.cli.output.plan_growth import growth_lines
from deepen.cli.output.plan_plateau import plateau_lines
from deepen.cli.output.plan_rate import rate_lines
from deepen.cli.output.plan_time import describe_fleet, time_sentences
from deepen.cli.output.plan_trials import describe_trials
from deepen.cli.output.tables import numbers, print_sentences, print_table, short, text
from deepen.cli.requests.plan_options import RECIPE_PLAN
from deepen.compute.accounting import TOKENS
from deepen.report.units import counted
from deepen.study.define.study import Study

_BAR_WIDTH = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_plan(plan: dict[str, Any]) -> None:
    """Print a plan, as `describe_plan` describes it."""
    time = plan["time"]
    columns = [
        text("phase"),
        numbers("depth"),
        text("trains"),
        numbers("steps"),
        numbers("tokens"),
        numbers("trainable"),
        numbers("MFLOP/token"),
        numbers("compute"),
        text(""),
        numbers("memory"),
    ]
    columns += [numbers("hours")] if time else []
    columns += [numbers("cost")] if time and time["cost"] is not None else []
    most = max(phase["flops"] for phase in plan["phases"])
    rows = (_row(plan, index, most) for index in range(len(plan["phases"])))
    print_answer(plan)
    print_table(_equal_compute(plan), columns, rows, droppable=("", "trainable", "tokens", "MFLOP/token", "steps"))
    lines = [
        *_totals(plan),
        *_marks(plan),
        *growth_lines(plan),
        *plateau_lines(plan),
        *rate_lines(plan["rate"]),
        *_memory(plan),
    ]
    print_sentences([*lines, _conventions(plan)], indent=10)


def _equal_compute(plan: dict[str, Any]) -> str:
    total, baseline = plan["total"], plan["baseline"]
    more = 100 * (total["tokens"] / baseline["tokens"] - 1)
    comparison = f"{abs(more):.1f} % {'more' if more > 0 else 'fewer'} tokens" if more else "as many tokens"
    against = plan["against"] if plan["against"] != plan["run"] else "the baseline"
    return (
        f"At equal compute {plan['run']} trains {counted(total['steps'], 'step')} where {against} "
        f"trains {baseline['steps']:,}: {comparison}"
    )


def _row(plan: dict[str, Any], index: int, most: int) -> list[str]:
    phase, memory, time = plan["phases"][index], plan["memory"]["phases"][index], plan["time"]
    cells = [
        phase["label"],
        str(phase["depth"]),
        phase["scope"],
        f"{phase['steps']:,}",
        short(phase["tokens"]),
        short(phase["trainable_parameters"]),
        f"{phase['flops_per_token'] / 1e6:,.1f}",
        f"{100 * phase['flops'] / plan['total']['flops']:.1f} %",
        _bar(phase["flops"] / most),
        _gigabytes(memory["peak"]),
    ]
    if time:
        own = time["phases"][index]
        cells += [format_hours(own["hours"])] + ([format_money(own["cost"])] if own["cost"] is not None else [])
    return cells


def _totals(plan: dict[str, Any]) -> list[str]:
    total, baseline, budget, time = plan["total"], plan["baseline"], plan["budget"], plan["time"]
    lines = []
    for name, what, own in (
        ("total", plan["run"], total),
        ("baseline", plan["against_run"], baseline),
    ):
        steps, tokens = counted(own["steps"], "step"), counted(own["tokens"], "token")
        line = f"{name:10}{what}: {steps}, {tokens}, {own['flops']:.4g} FLOPs"
        if time:
            spent = time if name == "total" else time["baseline"]
            line += f", {format_hours(spent['hours'])} h"
            line += f", {format_money(spent['cost'])}" if spent["cost"] is not None else ""
        lines.append(line)
    asked = f"{budget['asked']:.6g}" if budget["asked"] >= 1e15 else f"{budget['asked']:,.15g}"
    unit = {"flops": "FLOPs"}.get(budget["unit"], budget["unit"].replace("_", " "))
    lines.append(
        f"rounding  {asked} {unit} asked; {counted(baseline['steps'], 'whole step')} of {plan['against']} "
        f"{'is' if baseline['steps'] == 1 else 'are'} "
        f"{100 * (budget['got'] / budget['asked'] - 1):+.4f} % off, "
        f"{total['steps']:,} of {plan['run']} then {100 * (total['flops'] / baseline['flops'] - 1):+.4f} %"
    )
    lines.append(f"optimizer {_describe_optimizer(plan)}")
    if time:
        lines.append(f"time      {describe_fleet(time)}; training steps alone")
    return lines


def _describe_optimizer(plan: dict[str, Any]) -> str:
    """The FLOPs of the optimizer's updates, and whether the total includes them."""
    total = plan["total"]
    products, pointwise = total["optimizer_products_flops"], total["optimizer_flops"]
    if not products:
        return f"{pointwise:.4g} FLOPs of AdamW and clipping, apart from the total"
    return (
        f"{products:.4g} FLOPs of Muon's matrix products, {100 * products / total['flops']:.2g} % of the total; "
        f"{pointwise:.4g} of pointwise updates and clipping, apart from it"
    )


def _marks(plan: dict[str, Any]) -> list[str]:
    lines = []
    rounded = {name: round(share, 6) for name, share in plan["staged_share"].items()}
    named = [
        ((mark["total_steps"], rounded.get(name)), name) for name, mark in plan["marks"].items() if name != TOKENS
    ]
    for (same, share), group in groupby(sorted(named, key=_mark_order), key=lambda each: each[0]):
        names = [name for _, name in group]
        mark = plan["marks"][names[0]]
        staged = (
            f"continual {mark['continual_share']:.3f} T, staged part {share:.3f} of the baseline; "
            if share
            else ""
        )
        lines.append(
            f"mark      {', '.join(names)}: {counted(same, 'step')} in all; "
            f"{staged}{mark['flops_share']:.3f} of the baseline's FLOPs"
        )
    lines += [f"          {sentence}" for sentence in _describe_mispricing(plan)]
    lines += [f"mark      {name}: none: {why}" for name, why in plan["impossible_marks"].items()]
    if plan["paper_ratios"]:
        shares = ", ".join(f"{row['continual_share']:.3f} (r = {row['ratio']:g})" for row in plan["paper_ratios"])
        lines.append(
            f"ratio     the paper's continual share when a backward pass costs r forward passes: {shares}"
        )
    return lines


def _mark_order(named: tuple[Any, str]) -> tuple[bool, int, float]:
    """Equal FLOPs and seconds first, then by steps, so that marks at the same step are side by side."""
    (steps, share), name = named
    return name != "flops" and name != "seconds", steps, share or 0.0


def _describe_mispricing(plan: dict[str, Any]) -> list[str]:
    """By how much the mark of each other accounting is off in exact FLOPs, in sentences."""
    names = {"paper": "By the paper's price", "seconds": "By the clock"}
    sentences = []
    for accounting, mark in plan["marks"].items():
        off = mark["flops_share"] - 1
        same = mark["total_steps"] == plan["marks"]["flops"]["total_steps"]
        if accounting in names and abs(off) >= 0.0005 and not same:
            more = f"{100 * abs(off):.1f} % {'more' if off > 0 else 'fewer'}"
            sentences.append(
                f"{names[accounting]} {plan['run']} would get {more} FLOPs than {plan['against']} has: "
                f"{counted(mark['total_steps'], 'step')} where "
                f"{plan['marks']['flops']['total_steps']:,} are equal."
            )
    return sentences


def _memory(plan: dict[str, Any]) -> list[str]:
    memory = plan["memory"]
    at = next(phase for phase in memory["phases"] if phase["peak"] == memory["peak"])
    parts = ("weights", "gradients", "moments", "activations", "logits", "working")
    shares = ", ".join(f"{part} {_gigabytes(at[part])}" for part in parts if at[part])
    on = f" on each of {memory['devices']} devices, {_placement(memory)}" if memory["devices"] > 1 else ""
    line = (
        f"memory    peak {_gigabytes(memory['peak'])}{on}, {memory['precision']}, "
        f"in {memory['peak_phase']!r}, {at['moment']}: {shares}"
    )
    if memory["fits"] is None:
        return [line]
    has = f"the device's {_gigabytes(memory['device_bytes'])}"
    if memory["fits"]:
        without = memory["peak_without_checkpointing"]
        if without <= memory["device_bytes"]:
            return [line, f"          fits into {has}"]
        why = f"without activation checkpointing it would be {_gigabytes(without)}"
        return [line, f"          fits into {has}, as blocks run forward twice: {why}"]
    if memory["remedy"] is None:
        return [line, f"          does not fit into {has}, nor in any of the usual ways"]
    options = " ".join(_remedy_option(field, value) for field, value in memory["remedy"].items())
    return [line, f"          does not fit into {has}; with {options} it would"]


def _placement(memory: Mapping[str, Any]) -> str:
    """How devices hold the model, and what they send each other."""
    if not memory["sharded"]:
        return "replicated"
    over = f" over the {memory['shard_group']} of each machine" if memory["shard_group"] else ""
    gathered = ", blocks gathered in bf16" if memory["precision"] == "bf16" else ""
    once = [phase["reduces_gradients_once"] for phase in memory["phases"]]
    when = "once in a step" if any(once) else "in each micro-batch"
    where = " where memory allows" if any(once) and not all(once) else ""
    return f"sharded{over}{gathered}, gradients sent {when}{where}"


def _remedy_option(field: str, value: object) -> str:
    """A changed field of the settings as the option that changes it."""
    option = RECIPE_PLAN.display_name(field)
    if field == "reduce_once":
        return f"{option} each"
    return option if value is True or field == "shard_group" else f"{option} {value}"


def _conventions(plan: dict[str, Any]) -> str:
    causal = plan["total"]["flops_causal_exact"]
    if plan["attention_flops"] == "dense":
        return f"FLOPs     of matrix products, attention counted densely; causal-exact, the run costs {causal:.4g}"
    return "FLOPs     of matrix products, attention counted causal-exact: only the keys a query may see"


def print_study_plan(
    study: Study,
    marks: Sequence[Mapping[str, Any]],
    sharing: Mapping[str, int],
    trials: Mapping[str, Any] | None,
    evaluation: Mapping[str, Any],
    time: Mapping[str, Any] | None,
) -> None:
    """Print the marks of a study's arms, what its runs share, and the cost and time of all runs."""
    has_own_rates = any(study.rate_for(arm) != study.rate for arm in study.arms)
    print_table(
        f"{study.name}: {study.model.name}, {study.baseline_tokens:,} tokens, {study.batch_tokens:,} a step",
        (text("arm"), text("mark"), numbers("budget"), numbers("steps"), numbers("tokens"), numbers("FLOPs"))
        + ((text("learning rate"),) if has_own_rates else ()),
        (
            (
                mark["arm"],
                mark["accounting"],
                f"{mark['budget_share']:.2f}",
                f"{mark['steps']:,}",
                short(mark["tokens"]),
                f"{mark['flops']:.4g}",
                *((f"{mark['rate']}, peak {mark['peak_lr']:g}",) if has_own_rates else ()),
            )
            for mark in marks
        ),
    )
    warnings = {mark["arm"]: warning for mark in reversed(marks) for warning in mark["warnings"]}
    sentences = [
        f"{mark['arm']} may grow earlier, on a plateau of its loss: its mark is between "
        f"{mark['earliest']['steps']:,} and {mark['steps']:,} steps, the number in the table."
        for mark in marks
        if mark["earliest"] and mark["budget_share"] == 1.0
    ]
    sentences += describe_trials(trials) if trials else ()
    sentences += [
        describe_sharing(
            sharing["tokens_trained"], sharing["tokens_if_separate"], trials["runs_to_come"] if trials else 0
        ),
        "FLOPs count attention densely.",
        *(f"Warning: {each}." for each in reversed(warnings.values())),
    ]
    print_sentences([*time_sentences(evaluation, time), *sentences])


def describe_sharing(trained: int, separate: int, to_come: int = 0) -> str:
    """What runs train together, in tokens, compared with what they would train separately.

    `to_come` runs of trials are not among them.
    """
    later = f" {to_come:,} runs of trials come on top, at rates that follow from the losses of the others."
    return (
        f"All runs together train {short(trained)} tokens, {trained / separate:.2f} of the {short(separate)} that "
        f"separate runs would train: runs that begin alike share their training.{later if to_come else ''}"
    )


def _bar(share: float) -> str:
    """A bar of `share` of the full width, in eighths of a character."""
    eighths = round(share * _BAR_WIDTH * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _gigabytes(count: float) -> str:
    """Bytes in GB or MB (10⁹, 10⁶)."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"

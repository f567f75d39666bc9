"""What all runs of a study or a map cost in a plan: training, evaluation, and the time on devices."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deepen.cli.output.plan_answer import format_hours, format_money
from deepen.cli.output.tables import numbers, print_sentences, print_table, short, text
from deepen.compute.devices import DEVICES, Fleet, assumed_mfu
from deepen.study.compile.study_cost import (
    SEGMENT_SECONDS,
    StudyTime,
    count_segments,
    estimate_time,
    evaluation_flops,
    max_tokens,
)
from deepen.study.compile.tree import Tree


def describe_evaluation(trees: Sequence[Tree]) -> dict[str, Any]:
    """FLOPs of the validation losses of curves and marks, and their share of those of training."""
    flops = sum(map(evaluation_flops, trees))
    return {"flops": flops, "flops_share": flops / sum(tree.flops for tree in trees)}


def describe_time(
    trees: Sequence[Tree], fleets: Sequence[Fleet], price_per_hour: float | None
) -> dict[str, Any] | None:
    """What all runs together take on devices, training that several share counted once; None without devices.

    Args:
        trees: the studies.
        fleets: for each of them the same devices, at the utilization of its model; none where no device is named.
        price_per_hour: of a device; None if unknown.
    """
    if not fleets:
        return None
    fleet, flops, taken = fleets[0], sum(tree.flops for tree in trees), _sum_times(trees, fleets)

    def price(seconds: float) -> dict[str, Any]:
        hours = seconds / 3600
        return {"hours": hours, "cost": None if price_per_hour is None else hours * fleet.count * price_per_hour}

    return {
        "flops": flops,
        **price(taken.training),
        "evaluation": price(taken.evaluation),
        "device": fleet.device.name,
        "count": fleet.count,
        "mfu": flops / (fleet.count * fleet.device.peak_flops * taken.training),
        "mfu_by_model": _list_mfu(trees, fleets),
        "peak_flops": fleet.device.peak_flops,
        "is_peak_of_bf16": fleet.device in DEVICES.values(),
        "precisions": sorted({tree.study.settings.precision for tree in trees}),
        "source": fleet.device.source,
    }


def describe_cards(trees: Sequence[Tree]) -> list[dict[str, Any]]:
    """The seconds of a study or a map on one of each device of the table, at the assumed utilization."""
    cards = []
    for key, device in DEVICES.items():
        fleets = [Fleet(device=device, mfu=assumed_mfu(tree.study.model.width)) for tree in trees]
        taken = _sum_times(trees, fleets)
        cards.append({
            "name": key,
            "device": device.name,
            "peak_flops": device.peak_flops,
            "mfu_by_model": _list_mfu(trees, fleets),
            "training_seconds": taken.training,
            "evaluation_seconds": taken.evaluation,
            "segments": sum(map(count_segments, trees)),
            "beginnings_seconds": taken.beginnings,
            "seconds": taken.total,
        })  # fmt: skip
    return cards


def print_cards(preset: str, minutes: float, cards: Sequence[Mapping[str, Any]], trees: Sequence[Tree]) -> None:
    """Print how long a preset, or what the command line made of it, would take on each card."""
    segments = cards[0]["segments"]
    print_table(
        "Time on one card, estimated: nothing of it has been measured on a GPU",
        (
            text("card"),
            numbers("peak TFLOP/s"),
            numbers("assumed share"),
            numbers("training"),
            numbers("evaluation"),
            numbers(f"{segments:,} beginnings"),
            numbers("in all"),
        ),
        (
            (
                card["device"],
                f"{card['peak_flops'] / 1e12:,.4g}",
                _describe_mfu(card["mfu_by_model"].values()),
                _format_minutes(card["training_seconds"]),
                _format_minutes(card["evaluation_seconds"]),
                _format_minutes(card["beginnings_seconds"]),
                _format_minutes(card["seconds"]),
            )
            for card in cards
        ),
        droppable=("peak TFLOP/s", "evaluation"),
    )
    print_sentences([
        f"{preset} is made for {minutes:g} minutes on one H100. The share of the peak is assumed by the width of "
        "the model, as on an H100: a faster card reaches less of its peak, a slower one more. "
        f"{SEGMENT_SECONDS:g} s are assumed for the beginning of each segment; compilation, saving and drawing "
        "come on top.",
        f"The longest run reads {short(max_tokens(trees))} tokens: --data names a folder of shards with about "
        "as many.",
    ])  # fmt: skip


def time_sentences(evaluation: Mapping[str, Any], time: Mapping[str, Any] | None) -> list[str]:
    """Sentences on what all runs together cost beside and in training, and take on a device if there is one."""
    more = f"{evaluation['flops']:.3g} FLOPs more, {100 * evaluation['flops_share']:.2g} % of those of training"
    if time is None:
        return [f"Evaluating curves and marks takes {more}."]
    slower = ""
    if time["is_peak_of_bf16"] and "fp32" in time["precisions"]:
        slower = " That peak is bf16's: training in fp32, as here, takes several times as long."
    return [
        f"All runs together: {time['flops']:.4g} FLOPs, training that several share counted once: {_price(time)}.",
        f"Evaluating curves and marks takes {more}: {_price(time['evaluation'])}.",
        f"That is an estimate for {describe_fleet(time)}; beginning and saving segments are not in it, nor are "
        f"tasks.{slower}",
    ]


def describe_fleet(time: Mapping[str, Any]) -> str:
    """The devices that train, and how fast they are."""
    how = "as benched"
    if time["mfu"]:
        shares = time.get("mfu_by_model", {"": time["mfu"]}).values()
        how = f"{_describe_mfu(shares)} of {time['peak_flops'] / 1e12:,.4g} TFLOP/s"
    return f"{time['count']:,} × {time['device']}, {how} ({time['source']})"


def _sum_times(trees: Sequence[Tree], fleets: Sequence[Fleet]) -> StudyTime:
    times = [estimate_time(tree, fleet) for tree, fleet in zip(trees, fleets, strict=True)]
    return StudyTime(
        training=sum(each.training for each in times),
        evaluation=sum(each.evaluation for each in times),
        beginnings=sum(each.beginnings for each in times),
    )


def _list_mfu(trees: Sequence[Tree], fleets: Sequence[Fleet]) -> dict[str, float]:
    """The utilization for each study's model, by its name."""
    return {tree.study.model.name: fleet.mfu for tree, fleet in zip(trees, fleets, strict=True)}


def _describe_mfu(shares: Collection[float]) -> str:
    """Shares of a peak in percent: 7.7 %, or 2.7 to 14.1 %."""
    lowest, highest = (f"{100 * share:.3g}" for share in (min(shares), max(shares)))
    return f"{lowest} %" if lowest == highest else f"{lowest} to {highest} %"


def _price(time: Mapping[str, Any]) -> str:
    cost = "" if time["cost"] is None else f", {format_money(time['cost'])} in all"
    return f"{format_hours(time['hours'])} h{cost}"


def _format_minutes(seconds: float) -> str:
    minutes = seconds / 60
    if minutes >= 180:
        return f"{minutes / 60:,.1f} h"
    return f"{minutes:,.0f} min" if minutes >= 10 else f"{minutes:.1f} min"

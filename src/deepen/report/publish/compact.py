"""Compact results, to be committed to a repository: `load_results`, `judge` and the report read them like others.

What decides a verdict is kept: every mark of every seed with its exact loss, and the losses of its blocks of text
to 0.0002 nats. Curves keep a stated number of points, and other numbers five digits. What follows from the rest,
or is empty, is left out, apart from the keys that every results.json has.
"""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from deepen.report.publish import POINTS
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.excess import find_decay_start
from deepen.study.results.packed import pack_answers, pack_blocks, round_to_unit
from deepen.study.results.schema import ArmResult, CurvePoint, Results

_DIGITS = 5

_EXACT = (
    "budget_share", "budget_flops", "flops", "peak", "peak_lr", "chosen_peak", "options", "chosen_options",
    "tokens_per_parameter",
)  # fmt: skip
"""Keys of numbers that are compared with others, and so are not rounded."""

_ALWAYS = frozenset((
    "name", "recipe", "seed", "segments", "curve", "marks", "peak_memory_bytes", "tokens", "flops", "seconds",
    "train_loss", "val_loss", "accounting", "budget_flops", "annealed", "tasks", "arm", "n_seeds", "difference",
    "interval", "compute_multiplier", "multiplier_interval", "sentence", "outcome", "is_control",
))  # fmt: skip
"""Keys of arms, points, marks and verdicts that are written even where their value is empty."""


def make_compact(results: Results, points: int = POINTS) -> Results:
    """Thin the curves, round what decides no verdict, and judge what is left.

    Args:
        results: the results of a study.
        points: how many points of the longest curve are kept; more where it grows and decays, and twice as many
            after the last growth. Curves of results that are compact already stay as they are.
    """
    content = replace(results, arms=_thin_curves(results, points)).to_json()
    for arm in content["arms"]:
        arm["curve"] = [_round(point) for point in arm["curve"]]
        arm["marks"] = [_round_mark(mark) for mark in arm["marks"]]
    content["tuning"] = _round(content["tuning"])
    return with_verdicts(Results.from_json(content))


def encode_compact(results: Results) -> bytes:
    """Encode compact results as JSON, an arm or a verdict per line."""
    content = results.to_json()
    for key in ("noise", "depth_noise"):
        content[key] = _round(content[key])
    for key in ("verdicts", "depth_verdicts"):
        content[key] = [_trim(_round(verdict)) for verdict in content[key]]
    content["arms"] = [_pack(arm) for arm in content["arms"]]
    content = {key: value if key == "arms" else _without_empty(value) for key, value in content.items()}
    return ("{\n" + ",\n".join(f'"{key}": {_lines(value)}' for key, value in content.items()) + "\n}\n").encode()


def _trim(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict without what only `judge` and the tables need."""
    left_out = {"interval_alone", "interval_own_seeds"}
    if verdict["multiplier_interval_bounds"] == [None, None]:
        left_out.add("multiplier_interval_bounds")
    return {key: value for key, value in verdict.items() if key not in left_out}


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value):
        return _dump(value)
    return "[\n" + ",\n".join(_dump(entry) for entry in value) + "\n]"


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _pack(arm: dict[str, Any]) -> dict[str, Any]:
    """An arm whose marks have their blocks in one packed string, if all of them have blocks."""
    arm["packed_val_blocks"] = pack_blocks([mark["val_blocks"] for mark in arm["marks"]])
    for mark in arm["marks"]:
        if arm["packed_val_blocks"]:
            del mark["val_blocks"], mark["val_stderr"]
        for score in mark["tasks"].values():
            if score["correct"]:
                score["correct"] = pack_answers(score["correct"])
    packed: dict[str, Any] = _without_empty(arm)
    return packed


def _without_empty(value: Any) -> Any:
    """The value without keys that read as empty anyway."""
    if isinstance(value, list):
        return [_without_empty(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_empty(entry)
        for key, entry in value.items()
        if key in _ALWAYS or entry not in (None, "", [], {})
    }


def _round_mark(mark: dict[str, Any]) -> dict[str, Any]:
    """A mark with its exact loss, and with its blocks as they are read from a packed string."""
    exact = {"val_loss": mark["val_loss"], "val_blocks": [round_to_unit(loss) for loss in mark["val_blocks"]]}
    return _round(mark) | exact  # type: ignore[no-any-return]


def _round(value: Any) -> Any:
    """The value with all its floating-point numbers rounded, except those that are compared with others."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return [_round(entry) for entry in value]
    if isinstance(value, dict):
        return {key: entry if key in _EXACT else _round(entry) for key, entry in value.items()}
    return value


def _thin_curves(results: Results, points: int) -> tuple[ArmResult, ...]:
    """The arms with fewer points; the baseline keeps those at which an arm that grew is compared with it."""
    if not any(point.phase for arm in results.arms for point in arm.curve):  # they are thin already, see `_thin`
        return results.arms
    common, dense = (_choose_tokens(results.arms, number) for number in (points, 2 * points))
    own = defaultdict[str, set[int]](set)
    for arm in results.arms:
        for growth in arm.growths:
            after = [point.tokens for point in arm.curve if point.tokens > growth.tokens]
            own[arm.name] |= {growth.tokens, *after[:1]}
        if arm.growths:
            own[arm.name] |= {tokens for tokens in dense if tokens > arm.growths[-1].tokens}
    own[results.baseline] = set().union(*own.values())
    return tuple(replace(arm, curve=_thin(arm, common | own[arm.name])) for arm in results.arms)


def _choose_tokens(arms: Sequence[ArmResult], points: int) -> frozenset[int]:
    """The tokens at which curves keep a point: evenly spaced, and as far as possible where most runs have one."""
    runs = Counter(point.tokens for arm in arms for point in arm.curve if point.val_loss is not None)
    measured = sorted(runs)
    if not measured or points < 1:
        return frozenset()
    spacing = measured[-1] / points
    chosen = set()
    for step in range(1, points + 1):
        low, high = (bisect_left(measured, (step + side) * spacing) for side in (-0.5, 0.5))
        near = measured[low:high]
        if near:
            chosen.add(max(near, key=lambda tokens: (runs[tokens], -abs(tokens - step * spacing))))
    return frozenset(chosen)


def _thin(arm: ArmResult, kept: Set[int]) -> tuple[CurvePoint, ...]:
    """The points of a curve that are kept, and those before the decay and at the end.

    Their phases are left out, which only hover text shows; curves without any are known to be thin already.
    """
    validated = [point for point in arm.curve if point.val_loss is not None]
    ends = {point.tokens for point in (*validated[-1:], *arm.curve[-1:])}
    needed = kept | ends | {find_decay_start(arm.curve).tokens}
    return tuple(replace(point, phase="") for point in arm.curve if point.tokens in needed)

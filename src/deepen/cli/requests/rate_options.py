"""Options of the learning rate, and what they change of a rate."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

from deepen.cli.requests.command import Option
from deepen.cli.requests.value_types import ValueType, number, one_of, read_number, whole_number
from deepen.errors import InvalidValueError, InvalidValuesError, look_up
from deepen.schedule.rate import DECAY_UNITS, RATES, Rate, rate_name
from deepen.schedule.rate_piece import SHAPES
from deepen.study.define.study import Arm


class Peak(NamedTuple):
    """A peak rate: of one arm, or of all where `arm` is empty."""

    arm: str
    rate: float


def _read_peak(text: str) -> Peak:
    arm, equals, rate = text.rpartition("=")
    if equals and not arm:
        raise ValueError(f"is {text!r}: write RATE or ARM=RATE")
    return Peak(arm, number("RATE").read(rate))


LR_OPTION = Option(
    name="lr",
    takes=ValueType(metavar="[ARM=]RATE", read=_read_peak),
    help="peak learning rate; with ARM=, that of one arm; may be given more than once",
    default_help="what models of the size take",
    fields=("peak",),
    repeats=True,
)
RATE_OPTION = Option(name="rate", takes=one_of(RATES), help="shape of the learning rate", default_help="wsd")


def _read_share(text: str) -> float:
    value = read_number(text)
    if not 0 <= value <= 1:
        raise ValueError(f"is {text}: it must be from 0 to 1")
    return value


_SHARE = ValueType(metavar="SHARE", read=_read_share, number=float)
_SETTINGS = (
    Option(
        name="warmup-tokens",
        takes=whole_number("TOKENS"),
        help="tokens over which the rate rises from 0",
        default_help="by --warmup-share",
    ),
    Option(
        name="warmup-share",
        takes=_SHARE,
        help="the same as a share of the baseline's tokens",
        default_help="0.02, or that of --preset",
    ),
    Option(
        name="decay-share",
        takes=_SHARE,
        help="share of each run over which a wsd rate decays at its end",
        default_help="0.2",
    ),
    Option(
        name="decay-in",
        takes=one_of(DECAY_UNITS),
        help="what that share is counted in; in compute, a run that was shallow first and the baseline decay over "
        "the same share of their FLOPs",
        default_help=DECAY_UNITS[0],
    ),
    Option(
        name="decay-tokens",
        takes=whole_number("TOKENS", minimum=1),
        help="length of the decay in tokens, in place of a share",
        default_help="none",
    ),
    Option(
        name="decay-shape",
        takes=one_of(SHAPES),
        help="shape of the decay of a wsd rate; sqrt is 1 - sqrt(x)",
        default_help="linear",
    ),
    Option(
        name="final-share",
        takes=_SHARE,
        help="the rate at the end of a run, as a share of the peak",
        default_help="0 for wsd, 0.1 for cosine",
    ),
)
RATE_OPTIONS = (RATE_OPTION, *_SETTINGS)
"""What sets the course of a rate; its peak apart."""


def change_rate(rate: Rate, changes: Mapping[str, Any]) -> Rate:
    """The rate with what a command line changes of it: kind, peak, warm-up, decay.

    Args:
        rate: the rate before; another kind keeps its peak and its warm-up.
        changes: values of options by key; others are ignored.

    Raises:
        InvalidValueError, InvalidValuesError: a rate of this kind has no such setting, or refuses its value.
    """
    changed: Any = rate
    if "rate" in changes:
        kept = {name: getattr(rate, name) for name in ("peak", "warmup_tokens", "warmup_share")}
        changed = RATES[changes["rate"]](**kept)
    settings = {option.key: changes[option.key] for option in _SETTINGS if option.key in changes}
    known = {field.name for field in fields(changed)} if is_dataclass(changed) else set()
    if problems := [*_find_problems(settings, known, rate_name(changed))]:
        raise InvalidValuesError(problems)
    for one, other, nothing in _EITHER:
        if one in settings and other not in settings and other in known:
            settings[other] = nothing
    for peak in changes.get("lr", ()):
        if not peak.arm:
            settings["peak"] = peak.rate
    result: Rate = replace(changed, **settings) if settings else changed
    return result


_EITHER: tuple[tuple[str, str, Any], ...] = (
    ("warmup_tokens", "warmup_share", 0.0),
    ("warmup_share", "warmup_tokens", 0),
    ("decay_share", "decay_tokens", None),
)
"""Settings that take the place of another, and the value that the other then has."""


def _find_problems(settings: Mapping[str, Any], known: set[str], kind: str) -> Iterable[InvalidValueError]:
    for key, value in settings.items():
        if key not in known:
            having = [name for name, rate in RATES.items() if key in {field.name for field in fields(rate)}]
            yield InvalidValueError(
                f"is {value}, but a {kind} rate has none", field=key, value=value, remedy=f"use `rate` {having[0]}"
            )
    if "decay_tokens" in settings:
        for key in ("decay_share", "decay_in"):
            if key in settings:
                yield InvalidValueError(
                    f"and `{key}` both set the decay: give one of them", field="decay_tokens", value=key
                )


def set_peaks(arms: tuple[Arm, ...], peaks: Iterable[Peak]) -> tuple[Arm, ...]:
    """The arms, each with the peak that a command line gives it.

    Raises:
        InvalidValueError: there is no such arm.
    """
    by_name = {arm.name: arm for arm in arms}
    for peak in peaks:
        if peak.arm:
            arm = look_up(by_name, peak.arm, field="lr")
            by_name[arm.name] = arm.with_peak(peak.rate)
    return tuple(by_name.values())

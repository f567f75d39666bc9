"""Options of the trials that choose the rate of every arm and the best fixed depth."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from deepen.cli.requests.command import Option
from deepen.cli.requests.value_types import ValueType, comma_separated, number, whole_number
from deepen.errors import InvalidValueError
from deepen.study.define.study import Study
from deepen.study.define.tuning import MAX_REPEATS, MAX_TRIALS, Tuning, rates_around

_RATES = comma_separated(number("RATE"))
_COUNT = whole_number(minimum=2, maximum=64)


class TunedOption(NamedTuple):
    """An option of recipes, and the values to try."""

    name: str
    values: tuple[Any, ...]


def _read_rates(text: str) -> int | tuple[float, ...]:
    read: int | tuple[float, ...] = (_COUNT if re.fullmatch(r"\d+", text) else _RATES).read(text)
    return read


def _read_option(text: str) -> TunedOption:
    name, equals, values = text.partition("=")
    if not (name.strip() and equals and values.strip()):
        raise ValueError(f"is {text!r}: write NAME=VALUE,VALUE such as grow_at=0.3,0.5,0.7")
    read = tuple(_read_value(value.strip()) for value in values.split(","))
    return TunedOption(name.strip().replace("-", "_"), read)


def _read_value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


TUNING_OPTIONS = (
    Option(
        name="tune-rate",
        takes=ValueType(metavar="RATE[,RATE...]|N", read=_read_rates),
        help="peak learning rates to try for every arm, with seeds of their own, before it is trained with the "
        "best; a whole number of them is a grid of factors of 2 around --lr",
        default_help="the study's: 3 around the model's rate in fair, none in others",
        fields=("rates", "tuning"),
    ),
    Option(
        name="tune-option",
        takes=ValueType(metavar="NAME=VALUE[,VALUE...]", read=_read_option),
        help="values to try of a recipe's option, for the arms that have it; may be given more than once",
        default_help="none",
        fields=("options",),
        repeats=True,
    ),
    Option(
        name="tune-trials",
        takes=whole_number(minimum=1, maximum=MAX_TRIALS),
        help="number of trials of every arm in all; those beyond the grid are added around its best rate",
        default_help="as many as the largest grid has",
        fields=("trials",),
    ),
    Option(
        name="tune-seeds",
        takes=whole_number(minimum=1, maximum=MAX_REPEATS),
        help="number of seeds of each trial",
        default_help="1",
        fields=("repeats",),
    ),
    Option(
        name="tune-share",
        takes=number("SHARE", maximum=1),
        help="budget of a trial, as a share of the study's",
        default_help="1",
        fields=("share",),
    ),
    Option(
        name="depths",
        takes=comma_separated(whole_number("DEPTH", maximum=10_000)),
        help="constant depths to train at the same compute; the best of them is the second baseline",
        default_help="the study's: a quarter of the model's depth and up in fair, none in others",
    ),
)
"""What trials choose, and how many there are."""


def add_trials(study: Study, changes: Mapping[str, Any]) -> Study:
    """The study with the trials that a command line asks for.

    Args:
        study: the study; its rate is the middle of a grid of which only the size is given.
        changes: values of options by key; others are ignored.

    Raises:
        InvalidValueError: the trials do not fit the study, or choose the rate that `lr` gives.
    """
    given: dict[str, Any] = {}
    if "lr" in changes and "tune_rate" not in changes and study.tuning is not None and study.tuning.rates:
        raise InvalidValueError(
            f"would change nothing: {study.name} chooses every rate by trials",
            field="lr",
            remedy="name the rates to try, or their number, with `tune_rate`",
        )
    if "tune_rate" in changes:
        rates = changes["tune_rate"]
        given["rates"] = rates_around(study.rate.peak, rates) if isinstance(rates, int) else rates
    if "tune_option" in changes:
        given["options"] = {option.name: option.values for option in changes["tune_option"]}
    for key, name in (("tune_trials", "trials"), ("tune_seeds", "repeats"), ("tune_share", "share")):
        if key in changes:
            given[name] = changes[key]
    tuning = replace(study.tuning or Tuning(), **given)
    depths = changes.get("depths", study.depths)
    if given and not (depths or tuning.rates or tuning.options or tuning.trials > 1):
        name = "tune_share" if "share" in given else "tune_seeds" if "repeats" in given else "tune_trials"
        raise InvalidValueError(
            f"would change nothing: {study.name} has no trials",
            field=name,
            remedy="name the rates to try with `tune_rate`, or constant depths with `depths`",
        )
    return replace(study, tuning=tuning if given else study.tuning, depths=depths)

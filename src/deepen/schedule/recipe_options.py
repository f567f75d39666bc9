"""Shared by recipes: annotations for options, and what several recipes derive from them.

An option that takes several values can also be given a single one: `grow_at=0.5`, `grow_at=(0.3, 0.6)`; on the
command line `--grow-at 0.5`, `--grow-at 0.3,0.6`.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any, TypedDict, TypeVar

from deepen.errors import InvalidValueError, join_or
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS, get_operator
from deepen.growth.spec import REWARMED, Growth
from deepen.model.config import ModelConfig
from deepen.schedule.option import Default, OneOf
from deepen.schedule.plateau import Plateau
from deepen.schedule.trainable import TRAINABLE_SETS

OperatorName = Annotated[str, OneOf(OPERATORS)]
PlacementName = Annotated[str, OneOf(PLACEMENTS)]
MomentPolicyName = Annotated[str, OneOf(MOMENT_POLICIES)]
TrainableName = Annotated[str, OneOf(TRAINABLE_SETS, is_open=True)]

Depths = int | Sequence[int]
"""An option for one depth or several."""

Shares = float | Sequence[float]
"""An option for one share of the run or several."""

N = TypeVar("N", int, float)


def as_tuple(values: N | Sequence[N]) -> tuple[N, ...]:
    """The values of an option that takes one or several."""
    return tuple(values) if isinstance(values, Sequence) else (values,)


def resolve_start_depth(model: ModelConfig, start_depth: int | None) -> int:
    """Blocks before growth; half of the model's if `start_depth` is None.

    Raises:
        InvalidValueError: the depth is not below the model's.
    """
    depth = model.depth // 2 if start_depth is None else start_depth
    if not 0 <= depth < model.depth:
        raise InvalidValueError(
            f"is {depth}",
            field="start_depth",
            value=depth,
            remedy=f"it must be 0 to {model.depth - 1}, below the model's {model.depth}",
        )
    return depth


def check_operator(operator: str, depth: int, *, field: str = "start_depth") -> None:
    """Check that there are blocks to copy, if the operator copies.

    Args:
        operator: the operator.
        depth: blocks before the first growth.
        field: the option that sets them.

    Raises:
        InvalidValueError: it copies, and there are none.
    """
    if depth == 0 and get_operator(operator).copies:
        usable = [name for name, other in OPERATORS.items() if not other.copies]
        raise InvalidValueError(
            f"{operator!r} copies blocks, and with `{field}` 0 there are none",
            field="operator",
            value=operator,
            remedy=f"use {join_or(usable)}",
            allowed=usable,
        )


def check_share(share: float, field: str) -> float:
    """Check that a share of the run is between 0 and 1.

    Raises:
        InvalidValueError: it is not.
    """
    if not 0 < share < 1:
        raise InvalidValueError(
            f"is {share}",
            field=field,
            value=share,
            remedy="it is a share of the tokens and must lie between 0 and 1",
        )
    return share


def proportional_shares(stages: int, alpha: float) -> tuple[float, ...]:
    """Where all stages but the last end, as shares of the run, if stage i lasts in proportion to i**alpha.

    Source: Saunshi et al. 2024, arXiv 2409.19044 (there Prop-α).

    Raises:
        InvalidValueError: `alpha` is not a number from 0 to 100.
    """
    if not 0 <= alpha <= 100:
        raise InvalidValueError(
            f"is {alpha}", field="alpha", value=alpha, remedy="use 0 for equal stages, 1 or 2 for longer late ones"
        )
    lengths = [(stage / stages) ** alpha for stage in range(1, stages + 1)]
    return tuple(end / math.fsum(lengths) for end in accumulate(lengths[:-1]))


def split_tokens(tokens: int, shares: Sequence[float]) -> list[int]:
    """The tokens of the stretches of a run that is divided at these shares."""
    bounds = [0, *(round(tokens * share) for share in shares), tokens]
    return [end - begin for begin, end in pairwise(bounds)]


class GrowthOptions(TypedDict, total=False):
    """Options with the same meaning in every recipe that grows: `Growth(operator=..., **growth)`.

    Args:
        residual_scale: factor of the output of copied blocks at growth, a number of 0 or more.
        noise: standard deviation of noise on the matrices of copied blocks, as a share of their root mean square.
        rewarm_tokens: number of tokens over which the learning rate rises again from 0 after growth; 0 keeps it.
        rewarm: whose learning rate rises again: new-blocks or all.
    """

    residual_scale: Annotated[float, Default(Growth().residual_scale)]
    noise: Annotated[float, Default(Growth().noise)]
    rewarm_tokens: Annotated[int, Default(Growth().rewarm_tokens)]
    rewarm: Annotated[str, OneOf(REWARMED), Default(Growth().rewarm)]


def parse_plateau(grow_on: str, latest: int) -> Plateau | None:
    """What ends a phase before its latest end: nothing for an empty text, else a plateau of the training loss.

    Args:
        grow_on: `plateau:slope=0.2,earliest=0.3,patience=2,checks=20`; all but the slope can be left out.
        latest: tokens of the phase at most.

    Raises:
        InvalidValueError: it is not such a text.
    """
    if not grow_on:
        return None
    kind, _, settings = grow_on.partition(":")
    numbers: dict[str, Any] = {}
    for setting in settings.split(",") if settings else ():
        name, _, text = setting.partition("=")
        try:
            is_repeated = name.strip() in numbers
            numbers[name.strip()] = _PLATEAU_SETTINGS[name.strip()](text)
        except (KeyError, ValueError):
            kind = ""
        else:
            kind = "" if is_repeated else kind
    if kind != "plateau" or "slope" not in numbers:
        raise InvalidValueError(
            f"is {grow_on!r}",
            field="grow_on",
            value=grow_on,
            remedy="write plateau:slope=0.2, in nats per e-fold of tokens, and if needed ,earliest=0.3,patience=2,"
            "checks=20",
        )
    try:
        return Plateau.within(latest, **numbers)
    except InvalidValueError as error:
        raise InvalidValueError(f"is {grow_on!r}: {error}", field="grow_on", value=grow_on) from None


_PLATEAU_SETTINGS: Mapping[str, type[float]] = {"slope": float, "earliest": float, "patience": int, "checks": int}

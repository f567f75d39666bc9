"""How a model's scales depend on its depth. Needs no torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Parametrization:
    """A rule for how scales depend on the depth.

    Attributes:
        name, summary: its name, and an explanation in a few words.
        branch_scale: what multiplies the output of each attention and MLP before it is added to the residual
            stream, by the number of executed layers. Gradients of blocks shrink alike, so it multiplies the ε
            of their optimizer too.
        init_divisor: what divides the standard deviation of fresh output projections, by the final depth, unless a
            norm follows them.
    """

    name: str
    summary: str
    branch_scale: Callable[[int], float]
    init_divisor: Callable[[int], float]


PARAMETRIZATIONS: Mapping[str, Parametrization] = {
    rule.name: rule
    for rule in (
        Parametrization(
            name="standard",
            summary="GPT-2's: fresh output projections are divided by √(2·depth) (Radford et al. 2019)",
            branch_scale=lambda depth: 1.0,
            init_divisor=lambda depth: math.sqrt(2 * depth),
        ),
        Parametrization(
            name="depth-mup",
            summary="residual branches and the ε of blocks are divided by the depth, so that the best learning "
            "rate does not depend on it (Dey et al. 2025, CompleteP, arXiv 2505.01618, table 1)",
            branch_scale=lambda depth: 1 / max(depth, 1),
            init_divisor=lambda depth: 1.0,
        ),
    )
}
"""All parametrizations by name. To add one, add an entry."""

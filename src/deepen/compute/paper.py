"""The closed forms of Li, Fung & Huang 2024 (arXiv 2411.18700, sections IV-C and V-C), as the paper writes them.

In the paper, a forward pass costs c per layer and token, and a backward pass `ratio` times as much (the paper
takes 1). The head and the attention core cost nothing, and a layer below the trained ones costs its forward pass
only. T is a number of tokens or steps, L of layers, S of stages. For S = 4 and T = 10,000 steps, with c = L = 1:

    C_baseline     2·T              = 20,000
    C_incremental  T·(3·4 + 5)/16   = 10,625 for the staged part, 0.531 of the baseline's
    T_cont         ⅝·(1 − ¼)·T      =  4,688 steps that spend the rest: 14,688 in total

The share of the staged part, from which plans compute marks, is defined with the recipe in
`schedule.recipes.stages`.
"""

from fractions import Fraction

from deepen.schedule.recipes.stages import staged_share


def baseline_compute(tokens: float, layers: int, c: float = 1.0, ratio: float = 1.0) -> float:
    """C_baseline = (1 + ratio)·T·L·c; with the paper's ratio 1 it is 2TLc."""
    return (1 + ratio) * tokens * layers * c


def incremental_compute(tokens: float, layers: int, stages: int, c: float = 1.0, ratio: float = 1.0) -> float:
    """C_incremental; with ratio 1 it is T_inc·c·L·(3S + 5)/(4S)."""
    return float(staged_share(stages, ratio)) * baseline_compute(tokens, layers, c, ratio)


def continual_share(stages: int, ratio: float = 1.0) -> Fraction:
    """T_cont ÷ T, the continual training at equal compute; with ratio 1 it is ⅝·(1 − 1/S)."""
    return 1 - staged_share(stages, ratio)


def continual_tokens(tokens: float, stages: int, ratio: float = 1.0) -> float:
    """T_cont for a baseline of T tokens (or steps)."""
    return float(continual_share(stages, ratio) * Fraction(tokens))

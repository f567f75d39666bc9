"""A study of constant depths, made up: at each budget the loss is a parabola in the logarithm of the depth."""

import math
from typing import Any

from deepen.study.results.schema import Results

DEPTHS, FULL = (2, 3, 4, 6, 8, 12), 12
PARAMETERS = 1200
"""Of 12 blocks: 100 each."""
FLOPS = 6 * 100
"""For a token and a block."""
SHARES = (0.05, 0.1, 0.2, 0.4)
WHOLE = 20 * PARAMETERS * FULL * FLOPS


def best_at(budget: float) -> float:
    """The true best depth: it grows with the cube root of the budget, and 5 is best at its own 20."""
    own = 20 * 100 * 5 * 5 * FLOPS
    return 5 * math.cbrt(budget / own)


def _excess(depth: int, budget: float) -> float:
    return math.log(depth / best_at(budget)) ** 2


def make_depths(depths: tuple[int, ...] = DEPTHS, seeds: int = 2, noise: float = 0.0, **regime: Any) -> Results:
    arms = []
    for depth in depths:
        layers = list(range(depth))
        phase = {"depth": depth, "blocks": depth, "trained": "all", "trained_layers": layers, "tokens": 1}
        for seed in range(seeds):
            marks = [
                {
                    "accounting": "flops", "budget_share": share, "budget_flops": WHOLE * share,
                    "flops": WHOLE * share, "tokens": round(WHOLE * share / depth / FLOPS),
                    "val_loss": 4 + seed / 50 + _excess(depth, WHOLE * share) + noise * (seed * depth % 3),
                }
                for share in SHARES
            ]  # fmt: skip
            arms.append(
                {"name": f"depth {depth}", "recipe": "small", "seed": seed, "phases": [phase], "marks": marks}
            )
    facts = {"depth": FULL, "width": 24, "parameters_non_embedding": PARAMETERS} | regime
    return Results.from_json({"study": "depths", "baseline": f"depth {FULL}", "arms": arms, "regime": facts})

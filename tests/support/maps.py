"""A map of one recipe and one control, made up."""

import math
from dataclasses import replace
from typing import Any

from deepen.model.presets import PRESETS
from deepen.study.map.law import fit_laws
from deepen.study.map.schema import MapCell, MapResults

SIZES = tuple(replace(PRESETS["micro"], name=f"w{width}", width=width, mlp=0) for width in (32, 48, 64, 80, 96))
RATIOS = (10, 20, 40)
INSIDE = SIZES[2]


def make_map(**values: Any) -> MapResults:
    """A map of one-shot and small; `values` change the cells of one-shot."""
    multiplier = values.pop("multiplier", 1.2)
    cells = [
        MapCell.from_json({
            "arm": arm,
            "recipe": arm,
            "options": {"start_depth": 3},
            "model": {
                "name": model.name, "depth": model.depth, "width": model.width,
                "parameters_non_embedding": model.parameters_non_embedding,
                "vocab": model.vocab, "context": model.context,
            },
            "tokens_per_parameter": ratio,
            "multiplier": multiplier * (1.3 if arm == "small" else 1) * math.exp(0.005 * (-1) ** index),
            "seconds_multiplier": 0.9 * multiplier,
            "outcome": "wins",
            "beats_best_fixed_depth": True,
            "best_fixed_depth": "depth 6",
            **(values if arm == "one-shot" else {}),
        })
        for arm in ("one-shot", "small")
        for index, model in enumerate(SIZES)
        for ratio in RATIOS
    ]  # fmt: skip
    return MapResults.from_json({"cells": cells, "law": fit_laws(cells)})

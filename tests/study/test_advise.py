"""Advice: growing is recommended only where all evidence is there, and what is missing is a reason."""

from dataclasses import replace
from typing import Any

import pytest

from deepen.model.presets import PRESETS
from deepen.study.advise import MEASURED_MAP, Conclusion, advise
from deepen.study.map.define import sized_model
from deepen.study.map.law import fit_laws
from deepen.study.map.schema import load_map
from maps import INSIDE, SIZES, make_map


def tokens(ratio: float) -> float:
    return ratio * INSIDE.parameters_non_embedding


def test_growing_is_recommended_inside_the_range_above_1_and_above_the_best_fixed_depth() -> None:
    advice = advise(make_map(), INSIDE, tokens(20))
    assert advice.conclusion is Conclusion.GROW
    assert advice.best is not None and advice.best.arm == "one-shot"
    assert advice.best.multiplier == pytest.approx(1.2, rel=0.01)
    assert advice.best.saved_share == pytest.approx(1 - 1 / 1.2, abs=0.01)
    interval = advice.best.saved_interval
    assert interval is not None and interval[0] < advice.best.saved_share < interval[1]


def test_a_control_is_never_the_advice_however_well_it_does() -> None:
    advice = advise(make_map(), INSIDE, tokens(20))
    assert [arm.arm for arm in advice.arms] == ["one-shot", "small"]
    assert advice.arms[1].multiplier > advice.arms[0].multiplier


@pytest.mark.parametrize(
    ("model", "ratio", "reason"),
    [
        (INSIDE, 400, "tokens per parameter"),
        (replace(INSIDE, depth=24), 20, "depth"),
        (replace(INSIDE, width=512, mlp=0), 20, "width"),
    ],
)
def test_outside_the_measured_range_the_advice_is_to_test_and_says_why(
    model: Any, ratio: float, reason: str
) -> None:
    advice = advise(make_map(), model, ratio * model.parameters_non_embedding)
    assert advice.conclusion is Conclusion.TEST_FIRST
    assert any(each.startswith(reason) for each in advice.reasons)


def test_a_recipe_that_surely_loses_is_not_advised_before_one_that_may_win() -> None:
    steady = [cell for cell in make_map(multiplier=0.9).cells if cell.arm == "one-shot"]
    scattered = [
        replace(cell, arm="stack", recipe="stack", multiplier=1.05 * 1.3 ** (-1) ** SIZES.index(size))
        for size in SIZES
        for cell in steady
        if cell.model.name == size.name
    ]
    cells = [*steady, *scattered]
    found = replace(make_map(), cells=tuple(cells), law=fit_laws(cells))
    advice = advise(found, INSIDE, tokens(20))
    assert [arm.arm for arm in advice.arms] == ["stack", "one-shot"]
    certain, uncertain = (next(arm for arm in advice.arms if arm.arm == name) for name in ("one-shot", "stack"))
    assert certain.interval is not None and uncertain.interval is not None
    assert uncertain.interval[0] < certain.interval[0] < certain.interval[1] < 1 < uncertain.interval[1]
    assert advice.conclusion is Conclusion.TEST_FIRST


@pytest.mark.parametrize(
    ("values", "conclusion", "reason"),
    [
        ({"multiplier": 1.0}, Conclusion.TEST_FIRST, "the interval is not above 1"),
        ({"multiplier": 0.8}, Conclusion.FULL_DEPTH, "the interval of every recipe lies below 1"),
        ({"beats_best_fixed_depth": False}, Conclusion.TEST_FIRST, "of which depth 6 is the best"),
        (
            {"depths_at_edge": ["depth 6"]},
            Conclusion.TEST_FIRST,
            "the rate of depth 6 is at the edge",
        ),
        ({"beats_best_fixed_depth": None}, Conclusion.TEST_FIRST, "it was not compared with the best fixed depth"),
    ],
)
def test_what_is_missing_is_a_reason(values: Any, conclusion: Conclusion, reason: str) -> None:
    advice = advise(make_map(**values), INSIDE, tokens(20))
    assert advice.conclusion is conclusion
    assert any(reason in each for each in advice.reasons)


def test_without_a_map_there_is_the_ledger_alone() -> None:
    advice = advise(None, INSIDE, tokens(20))
    assert advice.conclusion is Conclusion.TEST_FIRST and advice.best is None
    assert advice.ceilings["one-shot"] > 1 and "small" not in advice.ceilings and "full" not in advice.ceilings


def test_blocks_of_the_nearest_cell_are_scaled_to_the_model() -> None:
    deep = replace(INSIDE, depth=24)
    advice = advise(make_map(), deep, 20 * deep.parameters_non_embedding)
    assert advice.best is not None and advice.best.options == {"start_depth": 6}
    # half of the tokens with a quarter of the blocks; head and attention are not in the blocks
    assert advice.best.ceiling is not None and 1.3 < advice.best.ceiling < 1 / (0.5 * 0.25 + 0.5)


def test_a_start_with_blocks_keeps_one_in_a_shallow_model() -> None:
    shallow = replace(INSIDE, depth=1)
    options = {arm.arm: arm.options for arm in advise(make_map(), shallow, tokens(20)).arms}
    assert options["one-shot"] == {"start_depth": 1}


def test_intervals_of_several_recipes_hold_together() -> None:
    """The best of several is looked at, so each interval is wider than that of a map of it alone."""
    both = make_map()
    cells = [cell for cell in both.cells if cell.arm == "one-shot"]
    alone = advise(replace(both, cells=tuple(cells), law=fit_laws(cells)), INSIDE, tokens(20)).arms[0].interval
    together = advise(both, INSIDE, tokens(20)).arms[0].interval
    assert alone is not None and together is not None
    assert together[0] < alone[0] < alone[1] < together[1]


def test_a_model_of_one_block_is_trained_at_full_depth() -> None:
    advice = advise(None, replace(INSIDE, depth=1), tokens(20))
    assert advice.conclusion is Conclusion.FULL_DEPTH and not advice.ceilings


def test_no_saving_is_read_from_an_extrapolation_beyond_the_ceiling() -> None:
    shipped = load_map(MEASURED_MAP)
    far = advise(shipped, PRESETS["gpt2-124m"], tokens=42 * PRESETS["gpt2-124m"].parameters_non_embedding)
    assert far.best is not None and far.best.ceiling is not None
    assert far.best.exceeds_ceiling and far.best.multiplier > far.best.ceiling
    assert any("exceeds its ceiling" in reason for reason in far.reasons)
    near = advise(shipped, sized_model(4, 24), tokens=40 * sized_model(4, 24).parameters_non_embedding)
    assert not any(arm.exceeds_ceiling for arm in near.arms)

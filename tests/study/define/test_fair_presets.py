"""The presets of `fair` and `map` for a GPU: they fit their time, keep the rules, and are changed by options."""

import math
from dataclasses import replace

import pytest

from deepen.compute.devices import DEFAULT_MFU, DEVICES, Fleet, assumed_mfu
from deepen.errors import InvalidValueError
from deepen.model.presets import PRESETS, peak_rate, tokens_per_step
from deepen.schedule.recipes import get_recipe
from deepen.study.compile.study_cost import estimate_time
from deepen.study.compile.tree import compile_study
from deepen.study.define.arm import Arm
from deepen.study.define.fair import fair
from deepen.study.define.fair_presets import FAIR_PRESETS, FairPreset, gpu_model
from deepen.study.map.define import MAP_PRESETS, preset_for, sized_model

GROUPS = [*((preset,) for preset in FAIR_PRESETS.values()), *MAP_PRESETS.values()]
NAMES = [f"{study} {name}" for study in ("fair", "map") for name in FAIR_PRESETS]
ALL = [preset for group in GROUPS for preset in group]


@pytest.mark.parametrize("group", GROUPS, ids=NAMES)
def test_a_preset_fits_its_time_on_an_h100_and_uses_most_of_it(group: tuple[FairPreset, ...]):
    seconds = 0.0
    for preset in group:
        fleet = Fleet(device=DEVICES["h100"], mfu=assumed_mfu(preset.model.width))
        seconds += estimate_time(compile_study(fair(preset=preset), ""), fleet).total
    assert 0.7 < seconds / (60 * group[0].minutes) < 0.95


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.model.name)
def test_no_rule_of_a_fair_comparison_is_given_up_for_time(preset: FairPreset):
    study = fair(preset=preset)
    assert len(study.seeds) >= 3 and len(study.earlier_tokens) >= 1 and len(study.anchors) >= 3
    assert len(study.trials.rates) >= 3 and study.trials.share * max(preset.budgets) >= 5
    assert len(study.depths) >= 3 and study.depths[-1] == preset.model.depth
    assert any(get_recipe(arm.recipe).is_control for arm in study.arms)
    assert (study.settings.precision, study.settings.compile) == ("bf16", "auto")


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.model.name)
def test_rates_and_steps_lie_between_the_two_published_laws(preset: FairPreset):
    parameters, tokens = preset.model.parameters_non_embedding, 20 * preset.model.parameters_non_embedding
    study = fair(preset=preset, budgets=(20,))
    flops = study.ledger.evaluation_per_token(preset.model.depth, study.context) * 3 * tokens
    rate = math.sqrt(0.3118 * flops**-0.125 * 1.79 * parameters**-0.713 * tokens**0.307)
    step = math.sqrt(0.2920 * flops**0.3271 * 0.58 * tokens**0.571)
    assert study.rate.peak == pytest.approx(rate, rel=0.1)
    assert abs(math.log2(study.batch_tokens / step)) <= 0.55


@pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.model.name)
def test_models_are_well_below_the_depth_from_which_more_blocks_hurt(preset: FairPreset):
    """16 blocks at width 512, with the power 0.44 of the width (arXiv 2601.20994)."""
    assert preset.model.depth <= 0.6 * 16 * (preset.model.width / 512) ** 0.44


def test_what_is_given_takes_the_place_of_a_presets_value():
    whole, changed = fair(preset="gpu-2h"), fair(preset="gpu-2h", seeds=4, budgets=(10,), recipes=("stack",))
    assert (len(changed.seeds), changed.earlier_tokens, changed.arms[1].recipe) == (4, (), "stack")
    assert changed.model == whole.model and changed.rate.peak == whole.rate.peak
    assert changed.settings == whole.settings and changed.trials.rates == whole.trials.rates
    assert changed.trials.share * 10 == whole.trials.share * 20 == 5  # tokens per parameter, as many
    assert fair(preset="gpu-2h", budgets=(2,)).trials.share == 1


def test_another_model_gets_the_rate_and_the_step_of_its_size_and_the_budgets_of_the_preset():
    model = PRESETS["gpt2-124m"]
    study, preset = fair(preset="gpu-20min", model=model), FAIR_PRESETS["gpu-20min"]
    assert (study.rate.peak, study.batch_tokens) == (peak_rate(model), tokens_per_step(model, model.context))
    assert study.tokens == pytest.approx(preset.budgets[-1] * model.parameters_non_embedding, rel=0.01)
    assert study.evaluation.validation_tokens == preset.validation_tokens


def test_a_model_that_a_map_is_given_has_the_presets_vocabulary_and_the_rate_of_a_size_it_knows():
    presets = MAP_PRESETS["gpu-2h"]
    assert preset_for(sized_model(4, 256), presets) == presets[2]
    other = preset_for(sized_model(8, 320), presets)
    assert other.model == gpu_model(8, 320) and other.budgets == presets[0].budgets
    assert preset_for(PRESETS["mini"], presets).model == PRESETS["mini"]


def test_a_study_without_a_preset_is_what_it_was():
    assert fair() == fair(preset=FairPreset()) == fair(model=PRESETS["nano"], budgets=(5, 10, 20, 40), seeds=5)
    own = replace(FairPreset(), recipes=(Arm(name="late", recipe="one-shot", options={"grow_at": 0.7}),))
    assert [arm.name for arm in fair(preset=own).arms] == ["full", "late", "small 6"]


def test_a_preset_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(InvalidValueError, match="gpu-20min or gpu-2h") as refused:
        fair(preset="gpu-1h")
    assert refused.value.field == "preset"


def test_narrow_models_are_assumed_to_reach_less_of_a_peak():
    """Between the cases in which kernels wait for memory (the width) and for their launch (its square)."""
    assert assumed_mfu(768) == assumed_mfu(4096) == DEFAULT_MFU
    for width in (64, 128, 256, 512):
        assert DEFAULT_MFU * (width / 768) ** 2 < assumed_mfu(width) < DEFAULT_MFU * width / 768

"""What a map trains: for each of several models, a study like `fair`.

    studies = [study_in_map(fair(model=model, recipes=MAP_RECIPES, seeds=3)) for model in DEFAULT_MODELS]
    run_map(studies, "map", train=deepen.run, draw=draw_map)

The models of a map that names none are a ladder of sizes, about twice the parameters from one to the next. They
are Llama-style models: at such widths GPT-2's learned positions make shallow models win at every budget, and four
Llama blocks begin to pay between 40 and 80 tokens per parameter (docs/results/depth.md). Growing to a depth that
does not pay cannot pay either, so every study of a map has the best fixed depth as its second baseline.
"""

from collections.abc import Mapping
from dataclasses import replace

from deepen.errors import InvalidValueError, join_or
from deepen.model.config import ModelConfig
from deepen.model.presets import scaled_init_std
from deepen.study.define.fair_presets import GPU_2H, GPU_20MIN, FairPreset, gpu_model
from deepen.study.define.study import Study

MAP_RECIPES = ("one-shot", "stack")
"""The recipes of a map that names none. They grow once, so their runs to all budgets share the shallow part."""

MAP_BUDGETS = (10.0, 20.0, 40.0, 80.0)
"""The budgets of a map that names none, in tokens of the baseline per non-embedding parameter."""

TRIAL_SHARE = 0.5
"""The budget of a trial, as a share of the largest. At a quarter, trials have chosen rates that cost 0.1 nats at
the largest budget (docs/results/depth.md)."""

_SIZES = ((4, 24), (4, 32), (4, 48), (4, 64))
_CONTEXT, _VOCAB = 128, 512


def sized_model(depth: int, width: int) -> ModelConfig:
    """A Llama of `depth` blocks, with the context and the vocabulary that all sizes of a map share.

    Its heads are 12 wide where that divides the width, and otherwise 16.

    Raises:
        InvalidValueError: the sizes make no model.
    """
    return ModelConfig(
        name=f"{depth}x{width}",
        family="llama",
        depth=depth,
        width=width,
        heads=max(1, width // (16 if width % 12 else 12)),
        context=_CONTEXT,
        vocab=_VOCAB,
        init_std=scaled_init_std(width) if width > 0 else 0.02,
    )


DEFAULT_MODELS = tuple(sized_model(depth, width) for depth, width in _SIZES)


def study_in_map(study: Study, *, trial_share: float | None = TRIAL_SHARE) -> Study:
    """A study as a map has it: named as its model, and tuned at a share of its largest budget.

    Args:
        study: the study, such as `fair`.
        trial_share: see `Tuning.share`; None leaves it as it is.
    """
    tuning = study.tuning
    if tuning is not None and trial_share is not None:
        tuning = replace(tuning, share=trial_share)
    return replace(study, name=study.model.name, tuning=tuning)


def _for_size(preset: FairPreset, depth: int, width: int, batch_tokens: int, peak: float) -> FairPreset:
    model = gpu_model(depth, width)
    return replace(preset, model=model, batch_tokens=batch_tokens, peak=peak)


_MAP_20MIN = replace(GPU_20MIN, curve_points=10)
_MAP_2H = replace(GPU_2H, seeds=3, curve_points=10)

MAP_PRESETS: Mapping[str, tuple[FairPreset, ...]] = {
    "gpu-20min": (_for_size(_MAP_20MIN, 4, 128, 8_192, 9e-3), _for_size(_MAP_20MIN, 4, 256, 16_384, 6e-3)),
    "gpu-2h": (
        _for_size(_MAP_2H, 4, 128, 8_192, 9e-3),
        _for_size(_MAP_2H, 4, 192, 16_384, 7.5e-3),
        _for_size(_MAP_2H, 4, 256, 16_384, 6e-3),
        _for_size(_MAP_2H, 6, 384, 65_536, 4e-3),
    ),
}
"""The presets of a map by name: values of `fair` for each of its models. Two models show whether a gain depends on
the size at all; four are the fewest for a trend. How they were chosen: docs/fair-comparison.md."""


def find_map_preset(name: str) -> tuple[FairPreset, ...]:
    """The values for each model of a map's preset.

    Raises:
        InvalidValueError: there is none with this name.
    """
    if name not in MAP_PRESETS:
        raise InvalidValueError(
            f"is {name!r}: `map` has {join_or(MAP_PRESETS)}",
            field="preset",
            value=name,
            allowed=tuple(MAP_PRESETS),
        )
    return MAP_PRESETS[name]


def preset_for(model: ModelConfig, presets: tuple[FairPreset, ...]) -> FairPreset:
    """The values of a map's preset for another model: what its models share, and what belongs to the model's size.

    A model of `sized_model` gets the context and the vocabulary of the preset's models.
    """
    if model == sized_model(model.depth, model.width):
        model = gpu_model(model.depth, model.width)
    own = (preset for preset in presets if preset.model == model)
    return next(own, presets[0].for_model(model))

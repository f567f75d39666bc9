"""What a map trains: for each of several models, a study like `fair`.

    studies = [study_in_map(fair(model=model, recipes=MAP_RECIPES, seeds=3)) for model in DEFAULT_MODELS]
    run_map(studies, "map", train=deepen.run, draw=draw_map)

The models of a map that names none are a ladder of sizes. From one to the next there are two to three times the
parameters, and a block per 12 to 16 of width: much deeper models of these widths lose to shallower ones
(docs/log.md, "Does the best rate depend on the depth?"), and growing to a depth that does not pay cannot pay
either. Whether it does is measured: every study of a map has the best fixed depth as its second baseline.
"""

from dataclasses import replace

from deepen.model.config import ModelConfig
from deepen.model.presets import scaled_init_std
from deepen.study.define.study import Study

MAP_RECIPES = ("one-shot", "stack")
"""The recipes of a map that names none. They grow once, so their runs to all budgets share the shallow part."""

TRIAL_SHARE = 0.25
"""The budget of a trial, as a share of the largest: in the middle of a map's budgets, and cheaper."""

_SIZES = ((4, 48), (4, 64), (6, 96), (8, 128))
_HEAD_WIDTH = 16
_CONTEXT, _VOCAB = 128, 2048


def sized_model(depth: int, width: int) -> ModelConfig:
    """A GPT-2 of `depth` blocks, with the context and the vocabulary that all sizes of a map share.

    Raises:
        InvalidValueError: the sizes make no model.
    """
    return ModelConfig(
        name=f"{depth}x{width}",
        depth=depth,
        width=width,
        heads=max(1, width // _HEAD_WIDTH),
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

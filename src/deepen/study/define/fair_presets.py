"""Values of the study `fair` by name: `gpu-20min` and `gpu-2h` have an answer within that time on one GPU.

    fair(preset="gpu-2h", seeds=3)      # what is given explicitly takes the place of the preset's value

No preset has run on a GPU yet. How sizes, rates, steps and budgets were chosen, with sources:
docs/fair-comparison.md, "How the presets for a GPU were chosen".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deepen.errors import InvalidValueError, join_or
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.study.define.arm import Arm
from deepen.study.define.evaluation import MARK_TOKENS
from deepen.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class FairPreset:
    """Values of the study `fair`; the defaults are those of a study without a preset.

    Attributes:
        model: the model at its full depth.
        budgets: tokens of the baseline per non-embedding parameter; about 20 are compute-optimal (Hoffmann et al.
            2022, arXiv 2203.15556).
        recipes: names of recipes, or arms with options.
        seeds: number of seeds.
        trials: learning rates to try for every arm and every constant depth, by factors of 2.
        trial_budget: budget of a trial, in tokens per parameter, at most the largest budget; None for that.
        peak: the learning rate in the middle of the trials; None for the default of the model's size.
        batch_tokens: tokens of a step; None for the default of the model's size.
        curve_points: points of the validation curve up to the baseline's largest budget.
        validation_tokens: size of the validation text there, at most that of 20 steps; None for that.
        mark_tokens: see `Evaluation`.
        settings: settings of a training step.
        minutes: the time on one H100 that it is made for; 0 for none.
    """

    model: ModelConfig = PRESETS["nano"]
    budgets: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    recipes: tuple[str | Arm, ...] = ("one-shot", "stack", "two-phase")
    seeds: int = 5
    trials: int = 3
    trial_budget: float | None = None
    peak: float | None = None
    batch_tokens: int | None = None
    curve_points: int = 40
    validation_tokens: int | None = None
    mark_tokens: int = MARK_TOKENS
    settings: TrainSettings = field(default_factory=TrainSettings)
    minutes: float = 0.0

    def for_model(self, model: ModelConfig) -> "FairPreset":
        """The preset for another model, with the default rate and step of its size."""
        return self if model == self.model else replace(self, model=model, peak=None, batch_tokens=None)


DEFAULT = FairPreset()
"""The values of a study without a preset."""


def gpu_model(depth: int, width: int) -> ModelConfig:
    """A GPT-2 of `depth` blocks, with the heads, context and vocabulary that the GPU presets share."""
    return ModelConfig(
        name=f"{depth}x{width}", depth=depth, width=width, heads=max(1, width // 64), context=512, vocab=8192
    )


GPU_20MIN = FairPreset(
    model=gpu_model(6, 256),
    budgets=(5.0, 10.0),
    recipes=(Arm(name="one-shot", recipe="one-shot", options={"grow_at": 0.6}),),
    seeds=3,
    trial_budget=5.0,
    peak=5.6e-3,
    batch_tokens=32_768,
    curve_points=20,
    validation_tokens=2**18,
    mark_tokens=2**21,
    settings=TrainSettings(precision="bf16", micro_batch_tokens=32_768),
    minutes=20,
)

GPU_2H = replace(
    GPU_20MIN,
    model=gpu_model(6, 384),
    budgets=(5.0, 10.0, 20.0),
    seeds=5,
    peak=4e-3,
    batch_tokens=65_536,
    minutes=120,
)

FAIR_PRESETS: Mapping[str, FairPreset] = {"gpu-20min": GPU_20MIN, "gpu-2h": GPU_2H}
"""The presets of `fair` by name; those of a map are in `study/map/define.py`."""


def find_fair_preset(preset: str | FairPreset) -> FairPreset:
    """A preset by name; the defaults for an empty name. A preset is returned unchanged.

    Raises:
        InvalidValueError: there is none with this name.
    """
    if isinstance(preset, FairPreset):
        return preset
    if not preset:
        return DEFAULT
    if preset not in FAIR_PRESETS:
        raise InvalidValueError(
            f"is {preset!r}: `fair` has {join_or(FAIR_PRESETS)}",
            field="preset",
            value=preset,
            allowed=tuple(FAIR_PRESETS),
        )
    return FAIR_PRESETS[preset]

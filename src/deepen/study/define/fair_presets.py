"""Values for `fair` by name: `gpu-20min` and `gpu-2h` have an answer within that time on one GPU.

    fair(preset="gpu-2h", seeds=3)      # what is given explicitly takes the place of the preset's value

How they were chosen; nothing of it has run on a GPU yet:

**Time.** Training, evaluation and the beginnings of segments (`study/compile/study_cost.py`) fit the minutes on
one H100 at `assumed_mfu`; what is left is for compilation, saving and drawing. In 20 minutes there is room for a
model of width 256, in 2 hours for one of 384. GPT-2 124M at 5 tokens per parameter, with three seeds and the same
controls, takes hours (`deepen plan fair --preset gpu-2h --model gpt2-124m --budgets 5 --seeds 3`).

**Depth.** Six blocks. A published law puts the depth beyond which more blocks raise the loss at 12 and 14 for
these widths: 16 at width 512, with the power 0.44 of the width (Fahim & Karim 2026, arXiv 2601.20994, abstract and
figure 1). Width ÷ depth is 43 and 64, where the loss hardly depends on it (Kaplan et al. 2020, arXiv 2001.08361,
section 3.2). Twelve blocks of width 20 and six of width 16 were too deep (docs/log.md). Whether six are here is
measured: constant depths are in every such study.

**Rates and tokens per step.** The geometric mean of two published laws for N parameters, D tokens and C FLOPs:
rates 0.3118 C^-0.1250 (DeepSeek LLM, arXiv 2401.02954, section 3.1) and 1.79 N^-0.713 D^0.307 (Li et al. 2025,
arXiv 2503.04715), steps of 0.2920 C^0.3271 and 0.58 D^0.571 tokens, rounded to powers of 2, all for 20 tokens per
parameter. At width 256 the laws give rates of 3.4e-3 and 8.8e-3; every arm and every depth tries the middle, its
half and its double.

**Recipe.** One growth from half of the blocks, by interleaved copies, after 60 % of the tokens: once, by copying,
and in the stable part of the rate, as Du et al. (arXiv 2405.15319) and Bu (arXiv 2511.04981) recommend. Its
shallow part is also that of its control.

**Vocabulary.** 8,192 tokens: the head is a quarter of the FLOPs at width 256. With GPT-2's 50,257 it would be two
thirds, and no growth could save much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deepen.errors import InvalidValueError, join_or
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, peak_rate, tokens_per_step
from deepen.study.define.arm import Arm
from deepen.study.define.evaluation import MARK_TOKENS
from deepen.train.settings import TrainSettings

_VALIDATION_STEPS = 20


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
        trial_budget: budget of a trial, in tokens per parameter; 0 for the largest budget.
        peak: the rate in the middle of the trials; 0 for the model's.
        batch_tokens: tokens of a step; 0 for the model's.
        curve_points: points of the validation curve up to the baseline's largest budget.
        validation_tokens: size of the validation text there, at most that of 20 steps; 0 for that of 20 steps.
        mark_tokens: see `Evaluation`.
        settings: settings of a training step.
        minutes: the time that it is made for, on one H100; 0 for none.
    """

    model: ModelConfig = PRESETS["nano"]
    budgets: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    recipes: tuple[str | Arm, ...] = ("one-shot", "stack", "two-phase")
    seeds: int = 5
    trials: int = 3
    trial_budget: float = 0.0
    peak: float = 0.0
    batch_tokens: int = 0
    curve_points: int = 40
    validation_tokens: int = 0
    mark_tokens: int = MARK_TOKENS
    settings: TrainSettings = field(default_factory=TrainSettings)
    minutes: float = 0.0

    def for_model(self, model: ModelConfig) -> "FairPreset":
        """The preset for a model, with the rate and the step of its size unless it is the preset's model."""
        own = self if model == self.model else replace(self, peak=0.0, batch_tokens=0)
        batch_tokens = own.batch_tokens or tokens_per_step(model, model.context)
        largest = _VALIDATION_STEPS * batch_tokens
        return replace(
            own,
            model=model,
            peak=own.peak or peak_rate(model),
            batch_tokens=batch_tokens,
            validation_tokens=min(own.validation_tokens or largest, largest),
        )


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
    settings=TrainSettings(precision="bf16", compile="auto", micro_batch_tokens=32_768),
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


def find_fair_preset(name: str) -> FairPreset:
    """A preset by name; the defaults for an empty name.

    Raises:
        InvalidValueError: there is none with this name.
    """
    if not name:
        return DEFAULT
    if name not in FAIR_PRESETS:
        raise InvalidValueError(
            f"is {name!r}: `fair` has {join_or(FAIR_PRESETS)}",
            field="preset",
            value=name,
            allowed=tuple(FAIR_PRESETS),
        )
    return FAIR_PRESETS[name]

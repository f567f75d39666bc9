"""Values of a wrong type in schedules and optimizers are refused in one line, with the field's name."""

from collections.abc import Callable
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Plateau
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD, Constant, Cosine
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import TrainSettings

PHASE = Phase(depth=3, tokens=64, label="phase")
WRONG = ("text", [1, "two"], [None], object(), float("nan"), float("inf"), True, -1)


def phase(**options: Any) -> Phase:
    return Phase(**{"depth": 3, "tokens": 64, "label": "phase", **options})


def schedule(**options: Any) -> Schedule:
    return Schedule(**{"phases": (PHASE,), **options})


def plateau(**options: Any) -> Plateau:
    return Plateau(**{"slope": 0.2, "check_tokens": 64, **options})


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (phase, "tokens layers growth until train"),
        (schedule, "phases start_depth rate growth"),
        (plateau, "slope check_tokens earliest window patience"),
        (Growth, "operator placement moments layout residual_scale noise rewarm_tokens rewarm"),
        (Ramp, "steps"),
        (Trainable.explicit, "blocks"),
        (WSD, "peak warmup_tokens warmup_share decay_share decay_tokens final_share decay_in decay_shape"),
        (Cosine, "peak warmup_tokens warmup_share final_share"),
        (Constant, "peak warmup_tokens warmup_share"),
        (OptimizerSpec.adamw, "weight_decay beta_1 beta_2 epsilon"),
        (OptimizerSpec.muon, "momentum iterations lr_factor"),
        (TrainSettings, "optimizer precision micro_batch_tokens compile on_spike max_grad_norm"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(make: Callable[..., Any], fields: str, value: object):
    for field in fields.split():
        with pytest.raises(InvalidValueError) as caught:
            make(**{field: value})
        assert caught.value.field == field and "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["activation_checkpointing", "checkpoint_to_fit", "reduce_once"])
@pytest.mark.parametrize("value", ["no", 1, [True]])
def test_what_is_neither_true_nor_false_is_refused(field: str, value: Any):
    """Text such as "no" would count as true."""
    with pytest.raises(InvalidValueError, match=r"must be True(, False)? or ") as caught:
        TrainSettings(**{field: value})
    assert caught.value.field == field


def test_wrong_shapes_of_ramps_and_layers():
    for steps in (3, ((0, 8, 1),), ((0, 8), (None, 8)), ((0, 8), (0.5, "x"))):
        with pytest.raises(InvalidValueError, match=r"ramp|steps"):
            Ramp(steps=steps)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="layers"):
        phase(layers=(10**30,))
    assert schedule(phases=[PHASE]) == schedule(phases=(PHASE,))

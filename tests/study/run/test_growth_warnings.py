"""Warnings about growth, before training."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from deepen.schedule.rate import WSD
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.run.growth_warnings import warn_of_growth


def test_each_arm_that_grows_after_the_decay_has_begun_is_named_once(
    make_study: Callable[..., Study], caplog: pytest.LogCaptureFixture
):
    def one_shot(name: str, grow_at: float) -> Arm:
        return Arm(name=name, recipe="one-shot", options={"start_depth": 1, "grow_at": grow_at})

    arms = (Arm(name="full", recipe="full"), one_shot("early", 0.25), one_shot("late", 0.75))
    study = make_study(arms=arms, rate=WSD(decay_share=0.5), seeds=(0, 1))
    warn_of_growth(compile_study(study, "data"))
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("arm late grows to ") and "New blocks then learn at a low rate" in message


@pytest.mark.parametrize(
    ("operator", "parametrization", "is_warned"),
    [
        ("copy-zero", "depth-mup", True),
        ("identity", "depth-mup", True),
        ("interleave", "depth-mup", False),
        ("copy-zero", "standard", False),
    ],
)
def test_an_operator_that_does_not_keep_the_function_with_this_parametrization_is_named(
    operator: str,
    parametrization: str,
    is_warned: bool,
    make_study: Callable[..., Study],
    caplog: pytest.LogCaptureFixture,
):
    arm = Arm(name="zero", recipe="one-shot", options={"start_depth": 1, "operator": operator})
    study = make_study(arms=(Arm(name="full", recipe="full"), arm), seeds=(0, 1))
    study = replace(study, model=replace(study.model, parametrization=parametrization))
    warn_of_growth(compile_study(study, "data"))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == is_warned
    assert all("arm zero grows" in message and "which changes it" in message for message in messages)


def test_untying_keeps_the_function_with_any_parametrization(
    make_study: Callable[..., Study], caplog: pytest.LogCaptureFixture
):
    study = make_study(arms=(Arm(name="full", recipe="full"), Arm(name="looped", recipe="loop-untie")))
    study = replace(study, model=replace(study.model, depth=4, parametrization="depth-mup"))
    warn_of_growth(compile_study(study, "data"))
    assert not caplog.records

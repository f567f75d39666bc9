from collections.abc import Callable

import pytest

from deepen.schedule.rate import WSD
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.run.rate_warnings import warn_of_late_growth


def test_each_arm_that_grows_after_the_decay_has_begun_is_named_once(
    make_study: Callable[..., Study], caplog: pytest.LogCaptureFixture
):
    def one_shot(name: str, grow_at: float) -> Arm:
        return Arm(name=name, recipe="one-shot", options={"start_depth": 1, "grow_at": grow_at})

    arms = (Arm(name="full", recipe="full"), one_shot("early", 0.25), one_shot("late", 0.75))
    study = make_study(arms=arms, rate=WSD(decay_share=0.5), seeds=(0, 1))
    warn_of_late_growth(compile_study(study, "data"))
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("arm late grows to ") and "New blocks then learn at a low rate" in message

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.compute.accounting import PaperAccounting, flops_accounting
from deepen.compute.ledger import phase_flops
from deepen.compute.marks import RecipeRun
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import make_plan
from deepen.compute.plan_request import PlanRequest
from deepen.errors import InvalidValueError, InvalidValuesError
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD, Cosine
from deepen.schedule.recipes import RECIPES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TrainedParts
from deepen.study.compile.marks import budget_flops, compile_marks, compile_trial
from deepen.study.compile.study_plan import plan_study
from deepen.study.define.presets import paper, quickstart
from deepen.study.define.start import Start
from deepen.study.define.study import ACCOUNTINGS, Arm, Study

OPTIONS = {"two-phase": [{"stages": stages} for stages in (1, 3, 4)], "one-shot": [{}, {"grow_at": 0.7}]}


def with_start(study: Study, recipe: str) -> Study:
    """The study with a checkpoint of half its depth, if the recipe needs one."""
    start = Start(path=Path("checkpoint"), sha256="", depth=study.model.depth // 2)
    return replace(study, start=start) if RECIPES[recipe].needs_checkpoint else study


@pytest.mark.parametrize("study", [quickstart(), paper(), paper(preset="paper-as-released")], ids=lambda s: s.name)
@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("recomputes", [False, True])
def test_a_plan_and_a_study_agree_on_every_mark(study: Study, recipe: str, recomputes: bool):
    settings = replace(study.settings, activation_checkpointing=recomputes)
    study = with_start(replace(study, settings=settings, accountings=ACCOUNTINGS), recipe)
    for options in OPTIONS.get(recipe, [{}]):
        plan = make_plan(
            PlanRequest(
                model=study.model,
                recipe=recipe,
                options=options,
                budget=study.tokens,
                budget_unit="tokens",
                batch_tokens=study.batch_tokens,
                context=study.context,
                ledger=study.ledger,
                memory=MemorySettings(),
            )
        )
        marks = compile_marks(study, Arm(name="arm", recipe=recipe, options=options))
        assert plan.baseline.flops == budget_flops(study)
        assert {mark.accounting for mark in marks} == plan.marks.keys()
        for mark in (mark for mark in marks if mark.budget_share == 1.0):
            assert mark.schedule.phases == plan.marks[mark.accounting].schedule.phases
            assert mark.schedule.growth == plan.marks[mark.accounting].schedule.growth


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_constant_ramp_gives_the_marks_of_a_study(recipe: str):
    """Studies have no ramps; a ramp that stays at the study's batch and context changes only labels."""
    study = with_start(quickstart(), recipe)
    [mark, *others] = compile_marks(study, Arm(name="arm", recipe=recipe))
    constant = RecipeRun(
        recipe=RECIPES[recipe],
        model=study.model,
        batch_tokens=study.batch_tokens,
        context=study.context,
        baseline_tokens=study.baseline_tokens,
        batch_ramp=Ramp(steps=((0.0, study.batch_tokens),)),
        context_ramp=Ramp(steps=((0.0, study.context),)),
    )
    assert flops_accounting(study.ledger).mark(constant, mark.budget_flops).tokens == mark.schedule.tokens
    accounting = PaperAccounting()
    for other in others:
        budget = accounting.ratio + 1
        assert accounting.mark(constant, budget * study.baseline_tokens).tokens == other.schedule.tokens


def test_the_baseline_is_measured_at_every_anchor_and_others_once(make_study: Callable[..., Study]):
    study = make_study()
    shares = {
        arm.name: [mark.budget_share for mark in compile_marks(study, arm) if mark.accounting == "flops"]
        for arm in study.arms
    }
    assert shares.pop("full") == list(study.anchors) and all(each == [1.0] for each in shares.values())


def test_a_rate_that_does_not_fork_has_one_mark(make_study: Callable[..., Study]):
    study = make_study(rate=Cosine(peak=1e-2))
    assert [mark.budget_share for mark in compile_marks(study, study.arms[0])] == [1.0]


def test_a_study_that_does_not_ask_for_the_papers_mark_has_none(make_study: Callable[..., Study]):
    study = make_study(accountings=("flops",))
    assert {mark.accounting for arm in study.arms for mark in compile_marks(study, arm)} == {"flops"}


def test_a_plan_of_a_study_has_every_mark_of_every_arm(make_study: Callable[..., Study]):
    study = make_study()
    plan = plan_study(study)
    expected = [(arm.name, mark) for arm in study.arms for mark in compile_marks(study, arm)]
    assert [(planned.arm, planned.mark) for planned in plan.marks] == expected
    assert plan.budget_flops == budget_flops(study)
    assert all(planned.tokens == planned.steps * study.batch_tokens for planned in plan.marks)


def test_all_arms_that_do_not_fit_are_reported_at_once(make_study: Callable[..., Study]):
    arms = (
        Arm(name="full", recipe="full"),
        Arm(name="deep", recipe="two-phase", options={"stages": 13}),
        Arm(name="odd", recipe="one-shot", options={"colour": "red"}),
    )
    study = make_study(arms=arms)
    with pytest.raises(InvalidValueError, match=r"^arm deep: "):
        compile_marks(study, arms[1])
    with pytest.raises(InvalidValuesError) as wrong:
        plan_study(study)
    assert [str(error).split(":")[0] for error in wrong.value.errors] == ["arm deep", "arm odd"]


def test_the_released_code_is_reproduced_to_the_step():
    """Per phase and in all: 10,000 // (2·S) steps in each, 10,000 // S without freezing, then 10,000 more."""
    study = paper(preset="paper-as-released")
    ends = {}
    for arm in study.arms:
        schedule = compile_marks(study, arm)[-1].schedule
        *staged, continual = schedule.phases
        lengths = {phase.tokens // study.batch_tokens for phase in staged}
        assert continual.tokens == study.tokens and continual.reset_moments
        assert not any(phase.reset_moments for phase in staged)
        ends[arm.name] = (schedule.steps, lengths.pop(), len(staged), schedule.depth)
        assert not lengths
    assert ends == {
        "full": (20_000, 10_000, 1, 12),
        "two-phase S=4": (20_000, 1250, 8, 12),
        "two-phase S=8": (20_000, 625, 16, 8),
        "two-phase S=12": (19_984, 416, 24, 12),
        "staged S=4": (20_000, 2500, 4, 12),
    }


def test_the_baseline_is_measured_at_the_compute_that_each_arm_has_used_after_its_continual_training():
    study = paper(preset="paper-as-released", scale=1e-3)
    full, *others = study.arms
    reference = {mark.budget_share: mark for mark in compile_marks(study, full)}
    for arm in others:
        mark = compile_marks(study, arm)[-1]
        baseline = reference.pop(mark.budget_share)
        assert mark.budget_flops == baseline.budget_flops
        step = study.batch_tokens * study.ledger.flops_per_token(
            TrainedParts.all(study.model.depth), study.context
        )
        costs = [sum(phase_flops(study.ledger, each.schedule)) for each in (mark, baseline)]
        assert costs[0] == pytest.approx(mark.budget_flops, rel=1e-9)
        assert abs(costs[0] - costs[1]) <= step / 2
    assert list(reference) == [*study.anchors, 2.0]


def test_continual_training_is_measured_only_where_a_shorter_run_is_part_of_a_longer_one(
    make_study: Callable[..., Study],
):
    arms = (Arm(name="full", recipe="full"), Arm(name="staged", recipe="staged", options={"stages": 2}))
    shares = {}
    for name, rate in (("wsd", WSD(peak=1e-2)), ("cosine", Cosine(peak=1e-2))):
        study = make_study(arms=arms, rate=rate, continual_shares=(0.5, 1.0))
        shares[name] = [len(compile_marks(study, arm)) for arm in arms]
    assert shares == {"wsd": [5, 3], "cosine": [1, 1]}


def test_an_arm_that_does_not_fit_is_reported_under_its_own_name(make_study: Callable[..., Study]):
    arms = (Arm(name="full", recipe="full"), Arm(name="deep", recipe="staged", options={"stages": 13}))
    study = make_study(arms=arms, continual_shares=(1.0,))
    with pytest.raises(InvalidValuesError) as wrong:
        plan_study(study)
    assert [str(error).split(":")[0] for error in wrong.value.errors] == ["arm deep"]


@pytest.mark.parametrize(
    ("compiles", "whose"), [(compile_marks, "arm full"), (compile_trial, "a trial of arm full")]
)
def test_an_arm_that_does_not_fit_keeps_the_field_and_the_remedy(
    compiles: Callable[[Study, Arm], object], whose: str, make_study: Callable[..., Study]
):
    study = make_study()
    long = replace(study, rate=WSD(warmup_tokens=study.tokens))
    with pytest.raises(InvalidValueError, match=f"^{whose}: warmup_tokens is ") as wrong:
        compiles(long, study.arms[0])
    assert (wrong.value.field, wrong.value.value) == ("warmup_tokens", study.tokens)
    assert wrong.value.remedy.startswith("use fewer `warmup_tokens`")


@pytest.mark.parametrize("share", [0.0, -1.0, float("inf"), float("nan")])
def test_a_continual_share_that_is_no_length_is_refused(share: float, make_study: Callable[..., Study]):
    with pytest.raises(InvalidValueError, match="must be numbers above 0"):
        make_study(continual_shares=(share,))


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ({"context": 32}, "'a' is 32: it must divide 16, the longest"),
        ({"context": 12, "batch_tokens": 36}, "'a' is 12: it must divide 16, the longest"),
    ],
)
def test_a_phase_that_cannot_be_cut_from_the_studys_windows_is_refused(
    first: dict[str, int], problem: str, make_study: Callable[..., Study]
):
    def build(model: ModelConfig, tokens: int) -> Schedule:
        shallow = Phase(depth=1, tokens=40, label="a", **first)
        return Schedule(phases=(shallow, Phase(depth=1, tokens=tokens - 40, label="b")))

    with pytest.raises(InvalidValueError, match=f"^arm mine: context of phase {problem}"):
        compile_marks(make_study(), Arm(name="mine", recipe=build))

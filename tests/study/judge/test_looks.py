"""Looks: no verdict with fewer seeds than planned, and each look is recorded and takes more confidence."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from deepen.study.judge.looks import SeedPlan, count_finished_seeds, find_looks, judge_as_planned
from deepen.study.results.schema import Results

ARMS = {"full": 4.0, "one-shot": 3.9, "small": 3.95}


def collected(requested: int, finished: int, arms: Iterable[str] = ARMS) -> Results:
    """Results without verdicts, of a study with `requested` seeds of which some are finished."""

    def arm(name: str, seed: int) -> dict[str, Any]:
        budgets = (0.7, 1.0, 1.4) if name == "full" else (1.0,)
        marks = [
            {"accounting": "flops", "budget_share": share, "budget_flops": 100 * share, "flops": 100 * share,
             "tokens": 10, "seconds": 1.0, "annealed": True,
             "val_loss": ARMS[name] - 0.2 * (share - 1) + 0.01 * seed + 0.001 * (seed * (len(name) + share) % 2)}
            for share in budgets
        ]  # fmt: skip
        return {"name": name, "recipe": name, "seed": seed, "marks": marks if seed < finished else []}

    content = [arm(name, seed) for name in arms for seed in range(requested)]
    regime = {"seeds": list(range(requested))}
    return Results.from_json({"study": "s", "baseline": "full", "arms": content, "regime": regime})


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Callable[..., Study]:
    return lambda seeds, **changes: make_study(seeds=tuple(range(seeds)), **changes)


def judged(results: Results, study: Study, before: Results | None = None) -> Results:
    plan = SeedPlan.continued(study, before)
    plan.check(study)
    return judge_as_planned(results, plan)


def test_no_verdict_is_written_before_the_planned_seeds_are_finished(study: Callable[..., Study]):
    early = judged(collected(3, 2), study(3))
    assert (early.verdicts, early.looks, early.seeds_planned) == ((), (), 3)
    assert count_finished_seeds(early) == 2
    complete = judged(collected(3, 3), study(3), early)
    assert {verdict.arm for verdict in complete.verdicts} == {"one-shot", "small"} and complete.looks == (3,)
    planned = judged(collected(2, 2), study(2, seeds_planned=5))
    assert (planned.verdicts, planned.seeds_planned) == ((), 5)


def test_seeds_that_are_added_after_a_verdict_make_a_look_with_more_confidence(study: Callable[..., Study]):
    first = judged(collected(2, 2), study(2))
    assert (first.looks, first.noise.confidence) == ((2,), pytest.approx(0.95))
    interrupted = judged(collected(4, 3), study(4), first)
    assert (interrupted.verdicts, interrupted.looks, interrupted.seeds_planned) == ((), (2,), 2)
    second = judged(collected(4, 4), study(4), interrupted)
    assert (second.looks, second.noise.confidence) == ((2, 4), pytest.approx(0.9875))
    again = judged(collected(4, 4), study(4), second)
    assert again == second


def test_seeds_that_are_added_before_a_verdict_make_no_look(study: Callable[..., Study]):
    """One seed gives no interval, so nothing was decided yet."""
    alone = judged(collected(1, 1), study(1))
    assert len(alone.verdicts) == 2 and alone.looks == ()
    more = judged(collected(3, 3), study(3), alone)
    assert (more.looks, more.seeds_planned, more.noise.confidence) == ((3,), 3, pytest.approx(0.95))


def test_a_verdict_of_an_older_version_is_a_look(study: Callable[..., Study]):
    old = replace(judged(collected(2, 2), study(2)), looks=(), seeds_planned=0)
    assert find_looks(old) == (2,)
    more = judged(collected(4, 4), study(4), old)
    assert (more.looks, more.seeds_planned) == ((2, 4), 2)


def test_a_primary_arm_is_declared_before_the_first_verdict(study: Callable[..., Study]):
    first = judged(collected(2, 2), study(2, primary="one-shot"))
    assert first.primary == "one-shot"
    assert judged(collected(4, 4), study(4), first).primary == "one-shot"
    with pytest.raises(InvalidValueError, match="'one-shot' was declared") as error:
        judged(collected(4, 4), study(4, primary="small"), first)
    assert error.value.field == "primary"
    with pytest.raises(InvalidValueError, match="with 2 planned before"):
        judged(collected(4, 4), study(4, seeds_planned=8), first)
    undeclared = judged(collected(2, 2), study(2))
    with pytest.raises(InvalidValueError, match="none was declared"):
        judged(collected(2, 2), study(2, primary="small"), undeclared)
    too_early = judged(collected(2, 1), study(2))
    assert judged(collected(2, 2), study(2, primary="small"), too_early).primary == "small"


def test_an_arm_that_is_the_baseline_or_unknown_cannot_be_primary(study: Callable[..., Study]):
    for name in ("full", "one shot"):
        with pytest.raises(InvalidValueError, match="is not an arm beside the baseline"):
            study(2, primary=name)


@pytest.mark.slow
def test_a_study_that_receives_seeds_after_its_verdict_records_two_looks(
    make_study: Callable[..., Study], run_study: Callable[..., dict[str, Any]], tmp_path: Path
):
    study = make_study(
        tokens=8 * 32,
        arms=(Arm(name="full", recipe="full"), Arm(name="small", recipe="small", options={"start_depth": 2})),
        anchors=(1.0,),
        evaluation=Evaluation(every_tokens=8 * 32, validation_tokens=64),
        seeds=(0, 1),
    )
    study = replace(study, model=replace(study.model, depth=3), primary="small")
    first = run_study(study, tmp_path / "study")
    more = run_study(replace(study, seeds=(0, 1, 2), primary=""), tmp_path / "study")
    assert (first["looks"], first["seeds_planned"], more["looks"], more["primary"]) == ([2], 2, [2, 3], "small")

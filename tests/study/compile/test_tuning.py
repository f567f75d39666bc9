import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from deepen.errors import InvalidValueError
from deepen.schedule.rate import WSD
from deepen.study.compile.marks import budget_flops
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.compile.tuning import next_peak
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning, rates_around

ARMS = (
    Arm(name="full", recipe="full"),
    Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6}),
    Arm(name="small", recipe="small", options={"start_depth": 6}),
)
TUNING = Tuning(rates=(4e-3, 8e-3, 1.6e-2))
Losses = Callable[[str, float, dict[str, object]], float]
"""Gives the loss of an arm's trial at a peak rate with options."""


@pytest.fixture
def tuned(make_study: Callable[..., Study]) -> Callable[..., Study]:
    return lambda **changes: make_study(**({"arms": ARMS, "tuning": TUNING} | changes))


def train(study: Study, loss: Losses) -> Tree:
    """Compile a study again and again, with the losses of the trials that are compiled, as a run of it does."""
    known: dict[str, float] = {}
    for _ in range(50):
        tree = compile_study(study, "data", find_loss=known.get)
        runs = [(trial, run) for trial, run in tree.tuning.runs if run.keys[-1] not in known]
        if not runs:
            return tree
        for trial, run in runs:
            known[run.keys[-1]] = loss(trial.arm.name, trial.peak, dict(trial.arm.options)) + run.seed / 1e6
    raise AssertionError("trials never end")


def bowl(best: float) -> Losses:
    return lambda arm, peak, options: math.log(peak / best) ** 2


def peaks(tree: Tree) -> dict[str, list[float]]:
    return {each.arm.name: [trial.peak for trial in each.trials] for each in tree.tuning.arms}


def chosen(tree: Tree) -> dict[str, float | None]:
    return {each.arm.name: each.chosen and each.chosen.peak for each in tree.tuning.arms}


def test_without_trials_a_study_is_the_tree_that_it_was(make_study: Callable[..., Study]):
    study = make_study()
    tree = compile_study(study, "data")
    assert not tree.tuning.arms and not tree.waiting and not tree.trial_ends
    assert tree.tuning.study == study


def test_every_arm_gets_the_same_rates_with_seeds_of_their_own(tuned: Callable[..., Study]):
    study = tuned(tuning=replace(TUNING, repeats=2))
    tree = compile_study(study, "data")
    assert peaks(tree) == {arm.name: [4e-3, 8e-3, 1.6e-2] for arm in ARMS}
    assert {run.seed for _, run in tree.tuning.runs} == {1000, 1001}
    assert not {run.seed for _, run in tree.tuning.runs} & set(study.seeds)


def test_while_a_choice_is_open_an_arms_own_runs_wait(tuned: Callable[..., Study]):
    tree = compile_study(tuned(), "data")
    own = {key for route in tree.routes for key in route.keys}
    assert tree.waiting == own and tree.tuning.is_open
    assert tree.checks == tree.trial_ends


def test_the_best_rate_of_each_arm_is_that_of_its_runs(tuned: Callable[..., Study]):
    best = {"full": 4e-3, "one-shot": 1.6e-2, "small": 8e-3}
    tree = train(tuned(), lambda arm, peak, options: abs(math.log(peak / best[arm])))
    assert chosen(tree) == best
    assert {route.arm.name: route.mark.schedule.rate.peak for route in tree.routes} == best
    assert not tree.waiting and not tree.checks
    assert {each.arm.name for each in tree.tuning.arms if each.is_at_edge} == {"full", "one-shot"}


def test_tuning_to_the_studys_rate_gives_the_segments_of_the_study_without_it(tuned: Callable[..., Study]):
    study = tuned()
    tree = train(study, bowl(8e-3))
    assert [route.keys[-1] for route in tree.routes] == [
        route.keys[-1] for route in compile_study(replace(study, tuning=None), "data").routes
    ]


def test_the_runs_of_all_arms_wait_until_the_last_choice_is_made(tuned: Callable[..., Study]):
    study = tuned()
    trials = [run for trial, run in compile_study(study, "data").tuning.runs if trial.arm.name == "full"]
    losses = {run.keys[-1]: 3.0 for run in trials}
    tree = compile_study(study, "data", find_loss=losses.get)
    assert [each.is_open for each in tree.tuning.arms] == [False, True, True]
    assert tree.waiting == {key for route in tree.routes for key in route.keys}


@pytest.mark.parametrize("best", [1e-3, 7e-3, 6e-2])
def test_trials_beyond_the_grid_come_closer_to_the_best_rate(tuned: Callable[..., Study], best: float):
    few, many = (train(tuned(arms=ARMS[:2], tuning=replace(TUNING, trials=n)), bowl(best)) for n in (3, 7))
    for arm in ARMS[:2]:
        assert len(peaks(many)[arm.name]) == 7
        assert peaks(many)[arm.name][:3] == [4e-3, 8e-3, 1.6e-2]
        assert abs(math.log(chosen(many)[arm.name] / best)) < max(0.2, abs(math.log(chosen(few)[arm.name] / best)))


def test_an_arm_with_tuned_options_has_as_many_trials_as_the_others(tuned: Callable[..., Study]):
    study = tuned(tuning=Tuning(rates=(4e-3, 8e-3), options={"grow_at": (0.3, 0.5, 0.7)}))

    def loss(arm: str, peak: float, options: dict[str, object]) -> float:
        return math.log(peak / 6e-3) ** 2 + abs(float(str(options.get("grow_at", 0.3))) - 0.3)

    tree = train(study, loss)
    assert {name: len(tried) for name, tried in peaks(tree).items()} == {"full": 6, "one-shot": 6, "small": 6}
    [shot] = [each for each in tree.tuning.arms if each.arm.name == "one-shot"]
    assert shot.option_names == ("grow_at",) and shot.chosen is not None
    assert shot.options(shot.chosen) == {"grow_at": 0.3}
    assert {route.arm.options["grow_at"] for route in tree.routes if route.arm.name == "one-shot"} == {0.3}


def test_trials_that_begin_alike_share_their_training(tuned: Callable[..., Study]):
    tree = compile_study(tuned(tuning=Tuning(options={"grow_at": (0.3, 0.5, 0.7)}, trials=3)), "data")
    runs = {trial.arm.options["grow_at"]: run for trial, run in tree.tuning.runs if trial.arm.name == "one-shot"}
    assert len({*runs[0.5].keys} & {*runs[0.7].keys}) > 1


def test_a_trial_of_a_share_of_the_budget_costs_that_share(tuned: Callable[..., Study]):
    for share in (0.5, 1.0):
        tree = compile_study(tuned(tuning=replace(TUNING, share=share)), "data")
        for _, run in tree.tuning.runs:
            flops = sum(tree.nodes[key].segment.flops for key in run.keys)
            assert flops == pytest.approx(share * budget_flops(tuned()), rel=0.05)


def test_of_a_trial_only_the_loss_at_its_end_is_measured(tuned: Callable[..., Study]):
    tree = compile_study(tuned(), "data")
    for _, run in tree.tuning.runs:
        points = [point.tokens for key in run.keys for point in tree.nodes[key].evaluations]
        assert points == [run.mark.schedule.tokens]


# Depths


def test_the_best_depth_becomes_an_arm_at_the_budgets_of_the_baseline(tuned: Callable[..., Study]):
    study = tuned(tuning=None, depths=(3, 6, 9))
    depth = {"full": 12, "small": 6}

    def loss(arm: str, peak: float, options: dict[str, object]) -> float:
        return abs(depth.get(arm, options.get("start_depth")) - 9)  # type: ignore[operator]

    before, after = compile_study(study, "data"), train(study, loss)
    assert {each.arm.name: each.fixed_depth for each in before.tuning.arms} == {
        "full": 12, "small": 6, "depth 3": 3, "depth 9": 9,
    }  # fmt: skip
    assert all(len(each.trials) == 1 for each in before.tuning.arms)
    assert after.tuning.best_fixed_depth == "depth 9"
    shares = {
        name: sorted(route.mark.budget_share for route in after.routes if route.arm.name == name)
        for name in ("full", "depth 9", "small")
    }
    assert shares == {"full": [0.7, 1.0, 1.4], "depth 9": [0.7, 1.0, 1.4], "small": [1.0]}


def test_each_smaller_budget_has_a_best_depth_of_its_own(tuned: Callable[..., Study]):
    """Depth 3 is the best at a quarter of the budget, depth 6 at the trials' budget, a half of it."""
    whole = tuned().tokens
    study = tuned(
        depths=(3, 6), earlier_tokens=(whole // 4, whole * 3 // 4), tuning=replace(TUNING, share=0.5, trials=4)
    )
    known: dict[str, float] = {}
    for _ in range(10):
        tree = compile_study(study, "data", find_loss=known.get)
        for trial in tree.tuning.trials:
            mark = trial.runs[0].mark
            best = 3 if mark.earlier_tokens else 6
            depth = mark.schedule.phases[0].depth
            known[trial.runs[0].keys[-1]] = abs(depth - best) + math.log(trial.peak / 7e-3) ** 2
    assert [len(trial.smaller) for arm in tree.tuning.arms for trial in arm.trials if arm.fixed_depth] == [1] * 12
    assert not any(trial.smaller for arm in tree.tuning.arms for trial in arm.trials if not arm.fixed_depth)
    assert [best.arm for best in tree.tuning.best_depths] == ["depth 3", "small"]
    assert [best.budget_flops / budget_flops(study) for best in tree.tuning.best_depths] == pytest.approx(
        [0.25, 0.5], rel=0.05
    )
    assert tree.tuning.best_fixed_depth == "small"
    budgets = {
        name: sorted(round(route.mark.budget_share, 1) for route in tree.routes if route.arm.name == name)
        for name in ("one-shot", "depth 3")
    }
    assert budgets["depth 3"] == budgets["one-shot"] and len(budgets["depth 3"]) == 3


def test_a_trial_at_a_smaller_budget_trains_only_its_decay(tuned: Callable[..., Study]):
    whole = tuned().tokens
    study = tuned(depths=(6,), earlier_tokens=(whole // 2,), rate=WSD(decay_share=0.2))
    tree = compile_study(study, "data")
    for arm in tree.tuning.arms:
        keys = {key for run in arm.runs for key in run.keys}
        tokens = sum(tree.nodes[key].segment.tokens for key in keys)
        lengths = [trial.runs[0].mark.tokens for trial in arm.trials[0].at_all_budgets]
        expected = lengths[-1] if arm.fixed_depth is None else lengths[-1] + 0.2 * lengths[0]
        warmup_and_trunk = len(arm.trials) * expected
        assert tokens == pytest.approx(warmup_and_trunk, rel=0.02)
        assert arm.trials[0].max_own_tokens == pytest.approx(expected, rel=0.02)


def test_the_baseline_or_an_arm_can_be_the_best_depth(tuned: Callable[..., Study]):
    study = tuned(depths=(3, 6))
    for best in ("full", "small"):
        tree = train(study, lambda arm, peak, options, best=best: bowl(8e-3)(arm, peak, options) + (arm != best))
        assert tree.tuning.best_fixed_depth == best
        assert {route.arm.name for route in tree.routes} == {"full", "one-shot", "small"}


def test_only_a_plain_run_of_one_depth_counts_as_that_depth(tuned: Callable[..., Study]):
    arms = (ARMS[0], Arm(name="slow", recipe="small", options={"start_depth": 6}, rate=WSD(decay_share=0.5)))
    tree = compile_study(tuned(arms=arms, tuning=None, depths=(6,)), "data")
    assert {each.arm.name for each in tree.tuning.arms} == {"full", "depth 6"}


def test_a_name_of_a_depth_that_is_taken_is_refused(tuned: Callable[..., Study]):
    arms = (ARMS[0], Arm(name="depth 3", recipe="small", options={"start_depth": 6}))
    with pytest.raises(InvalidValueError, match="give it another name"):
        compile_study(tuned(arms=arms, depths=(3,)), "data")


# Trials that diverge


def test_a_rate_that_diverges_is_not_chosen_and_its_training_is_left_out(tuned: Callable[..., Study]):
    tree = train(
        tuned(tuning=replace(TUNING, trials=5)),
        lambda arm, peak, options: math.inf if peak > 1.2e-2 else bowl(1e-2)(arm, peak, options),
    )
    assert set(chosen(tree).values()) == {1.13e-2}
    given_up = {run.keys[-1] for trial, run in tree.tuning.runs if trial.peak > 1.2e-2}
    assert given_up and given_up <= tree.given_up
    assert not any(each.is_at_edge for each in tree.tuning.arms)


# What cannot be


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seeds": (0, 1000)}, "seed is 1000, and trials get 1000, one of the study's seeds"),
        ({"tuning": Tuning(options={"speed": (1, 2)})}, "an option that no arm's recipe has: use grow_at"),
        ({"tuning": replace(TUNING, trials=2)}, "trials is 2, but the grid of arm 'full' has 3"),
        ({"arms": (replace(ARMS[0], peak=0.1),)}, "peak of arm 'full' is 0.1, but tuning chooses it"),
        ({"depths": (13,)}, "depths are"),
        ({"depths": (3, 3)}, "give each only once"),
    ],
)
def test_trials_that_do_not_fit_a_study_are_refused(
    tuned: Callable[..., Study], changes: dict[str, object], problem: str
):
    with pytest.raises(InvalidValueError, match=problem):
        tuned(**changes)


def test_a_value_that_a_recipe_refuses_names_the_arm(tuned: Callable[..., Study]):
    with pytest.raises(InvalidValueError, match=r"a trial of arm one-shot: .*grow_at"):
        compile_study(tuned(tuning=Tuning(options={"grow_at": (0.5, 1.5)})), "data")


# The next rate


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({8e-3: 3.0}, 1.6e-2),
        ({4e-3: 3.0, 8e-3: 3.1}, 2e-3),
        ({4e-3: 3.1, 8e-3: 3.0}, 1.6e-2),
        ({4e-3: 3.2, 8e-3: 3.0, 1.6e-2: 3.1}, 1.13e-2),
        ({4e-3: 3.1, 8e-3: 3.0, 1.6e-2: 3.2}, 5.66e-3),
        ({4e-3: 3.1, 8e-3: 3.0, 1.13e-2: 3.05}, 5.66e-3),
        ({4e-3: 3.1, 8e-3: 3.0, 1.6e-2: math.inf}, 5.66e-3),
    ],
)
def test_the_next_rate_is_beside_the_best_or_beyond_it(losses: dict[float, float], expected: float):
    assert next_peak(losses) == expected


def test_a_grid_around_a_rate_has_factors_of_two():
    assert rates_around(8e-3, 3) == (4e-3, 8e-3, 1.6e-2)
    assert rates_around(8e-3, 2) == (4e-3, 8e-3)


def test_what_a_plan_says_is_trained_counts_trials_and_the_best_depth_to_come(tuned: Callable[..., Study]):
    """In tokens as in FLOPs, and at most: arms whose rates are chosen alike share more."""
    refined = tuned(tuning=replace(TUNING, trials=5))
    plan, trained = compile_study(refined, "data"), train(refined, bowl(7e-3))
    assert plan.tokens_if_separate == trained.tokens_if_separate
    assert trained.tokens <= plan.tokens <= 1.1 * trained.tokens and plan.flops_to_come > 0
    for earlier in ((), (tuned().tokens // 2,)):
        deep = tuned(tuning=replace(TUNING, trials=5), depths=(3, 6), earlier_tokens=earlier)
        plan, trained = compile_study(deep, "data"), train(deep, bowl(7e-3))
        assert plan.tokens_if_separate >= trained.tokens_if_separate
        assert plan.flops >= trained.flops and plan.flops_to_come > 0 == trained.flops_to_come

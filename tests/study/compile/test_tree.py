from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from deepen.model.config import ModelConfig
from deepen.schedule.phase import Part
from deepen.schedule.rate import DECAY_UNITS, WSD, Cosine
from deepen.schedule.recipe_function import Build
from deepen.schedule.recipes.one_shot import one_shot
from deepen.schedule.schedule import Schedule
from deepen.study.compile.tree import Route, Tree, compile_study, hash_own_recipes
from deepen.study.define.presets import paper
from deepen.study.define.study import Arm, Study
from deepen.train.optim.spec import OptimizerSpec


def route(tree: Tree, name: str, accounting: str = "flops", share: float = 1.0) -> Route:
    return next(
        r for r in tree.routes if (r.arm.name, r.mark.accounting, r.mark.budget_share) == (name, accounting, share)
    )


def shared_tokens(tree: Tree, a: Route, b: Route) -> int:
    return sum(tree.nodes[key].segment.end - tree.nodes[key].segment.start for key in set(a.keys) & set(b.keys))


def test_every_route_is_its_schedule_without_gap_or_overlap(make_study: Callable[..., Study]):
    tree = compile_study(make_study(seeds=(0, 1)), "data")
    for r in tree.routes:
        segments, at, parent = [tree.nodes[key].segment for key in r.keys], 0, None
        for key, segment in zip(r.keys, segments, strict=True):
            assert (segment.start, tree.nodes[key].parent) == (at, parent)
            at, parent = segment.end, key
        assert at == r.mark.schedule.tokens
        for phase_end in _ends(r):
            assert any(segment.start < phase_end <= segment.end for segment in segments)
        flops = sum(s.flops for s in segments)
        assert abs(flops - r.mark.budget_flops) <= max(s.flops_per_step for s in segments) or (
            r.mark.accounting == "paper"
        )


def _ends(r: Route) -> list[int]:
    ends, at = [], 0
    for phase in r.mark.schedule.phases:
        at += phase.tokens
        ends.append(at)
    return ends


def test_arms_that_begin_with_the_same_training_share_segments(make_study: Callable[..., Study]):
    tree = compile_study(make_study(), "data")
    one_shot, small = route(tree, "one-shot"), route(tree, "small")
    grown_at = one_shot.mark.schedule.phases[0].tokens
    assert shared_tokens(tree, one_shot, small) == grown_at > 0
    first_stage = route(tree, "two-phase S=4").mark.schedule.phases[0].tokens * 2
    assert shared_tokens(tree, route(tree, "two-phase S=4"), route(tree, "staged S=4")) == first_stage > 0
    assert shared_tokens(tree, route(tree, "full"), route(tree, "small")) == 0


def test_marks_of_one_arm_share_all_but_their_decays(make_study: Callable[..., Study]):
    tree = compile_study(make_study(), "data")
    near, far = (route(tree, "full", share=share) for share in (0.7, 1.4))
    decay = tree.nodes[near.keys[-1]].segment
    assert decay.rate.end_lr == 0 and shared_tokens(tree, near, far) == decay.start
    cosine = compile_study(make_study(rate=Cosine(peak=1e-2)), "data")
    flops, paper = (route(cosine, "two-phase S=4", accounting) for accounting in ("flops", "paper"))
    assert shared_tokens(cosine, flops, paper) == 0


def test_more_arms_marks_and_seeds_keep_all_keys(make_study: Callable[..., Study]):
    whole = compile_study(make_study(seeds=(0, 1)), "data")
    alone = compile_study(make_study(arms=(Arm(name="full", recipe="full"),), anchors=(1.0,)), "data")
    assert route(alone, "full").keys[-1] == route(whole, "full").keys[-1]


def test_two_phase_with_one_stage_has_the_same_route_as_full(make_study: Callable[..., Study]):
    arms = (Arm(name="full", recipe="full"), Arm(name="S=1", recipe="two-phase", options={"stages": 1}))
    tree = compile_study(make_study(arms=arms), "data")
    assert route(tree, "S=1").keys == route(tree, "full").keys == route(tree, "S=1", "paper").keys


def test_whatever_changes_the_numbers_changes_the_keys(make_study: Callable[..., Study]):
    study = make_study()
    keys = set(compile_study(study, "data").nodes)
    others = [
        (study, "other data"),
        (replace(study, seeds=(7,)), "data"),
        (
            replace(study, settings=replace(study.settings, optimizer=OptimizerSpec.adamw(weight_decay=0.2))),
            "data",
        ),
        (replace(study, settings=replace(study.settings, max_grad_norm=None)), "data"),
        (replace(study, rate=replace(study.rate, peak=1e-3)), "data"),
        (replace(study, batch_tokens=16), "data"),
    ]
    for other, data in others:
        assert not keys & set(compile_study(other, data).nodes)
    assert keys == set(
        compile_study(replace(study, settings=replace(study.settings, micro_batch_tokens=16)), "data").nodes
    )


def as_one_shot(model: ModelConfig, tokens: int, *, start_depth: int = 6) -> Schedule:
    """What `one-shot` returns, from a function of a user's own."""
    return one_shot(model, tokens, start_depth=start_depth)


def test_a_function_has_the_keys_of_a_recipe_that_returns_the_same(make_study: Callable[..., Study]):
    arms = (Arm(name="full", recipe="full"), Arm(name="mine", recipe=as_one_shot))
    named = compile_study(make_study(), "data")
    assert route(compile_study(make_study(arms=arms), "data"), "mine").keys == route(named, "one-shot").keys


def test_a_function_is_identified_by_what_it_returns(make_study: Callable[..., Study]):
    def hashes(*recipes: Build, **changes: object) -> list[str]:
        arms = (Arm(name="full", recipe="full"), *(Arm(name=str(i), recipe=r) for i, r in enumerate(recipes)))
        return [*hash_own_recipes(make_study(arms=arms, **changes)).values()]

    same, other = lambda m, t: one_shot(m, t, start_depth=6), lambda m, t: one_shot(m, t, start_depth=5)
    found = hashes(as_one_shot, same, other, partial(one_shot, start_depth=6))
    assert found[0] == found[1] == found[3] != found[2]
    assert hashes(as_one_shot, seeds=(1, 2), anchors=(0.5, 1.0)) == found[:1]
    assert hash_own_recipes(make_study()) == {}


def test_arms_share_segments_exactly_where_their_rates_agree(make_study: Callable[..., Study]):
    own = make_study().rate
    arms = (
        Arm(name="full", recipe="full"),
        Arm(name="same", recipe="one-shot", options={"start_depth": 6}, rate=own),
        Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6}),
        Arm(name="higher", recipe="one-shot", options={"start_depth": 6}, rate=replace(own, peak=2e-2)),
    )
    tree = compile_study(make_study(arms=arms), "data")
    same, shot, higher = (route(tree, name) for name in ("same", "one-shot", "higher"))
    assert same.keys == shot.keys == route(compile_study(make_study(), "data"), "one-shot").keys
    assert shared_tokens(tree, shot, higher) == 0
    assert max(tree.nodes[key].segment.rate.end_lr for key in higher.keys) == 2e-2
    assert higher.mark.schedule.steps == shot.mark.schedule.steps


def test_a_decay_in_compute_is_one_in_tokens_where_every_token_costs_the_same(make_study: Callable[..., Study]):
    def keys(**rate: Any) -> dict[str, list[str]]:
        tree = compile_study(make_study(rate=WSD(peak=1e-2, warmup_tokens=64, **rate)), "data")
        arms = [arm.name for arm in tree.study.arms]
        return {name: [r.keys[-1] for r in tree.routes if r.arm.name == name] for name in arms}

    tokens, compute = keys(), keys(decay_in="compute")
    assert tokens["full"] == compute["full"]
    assert tokens["one-shot"] != compute["one-shot"]


@pytest.mark.parametrize("decay_in", DECAY_UNITS)
def test_runs_of_an_arm_fork_where_the_decay_of_the_shorter_begins(
    decay_in: str, make_study: Callable[..., Study]
):
    rate = WSD(peak=1e-2, warmup_share=0.1, decay_in=decay_in, decay_shape="sqrt")
    tree = compile_study(make_study(rate=rate, anchors=(0.5, 1.0)), "data")
    short, long = [r for r in tree.routes if r.arm.name == "full"][:2]
    *_, decay = short.mark.schedule.rate.pieces(short.mark.schedule.grid)
    assert 0 < decay.start == shared_tokens(tree, short, long) < short.mark.schedule.tokens


def test_a_baseline_with_a_rate_that_does_not_fork_has_one_mark(make_study: Callable[..., Study]):
    arms = (Arm(name="full", recipe="full", rate=Cosine(peak=1e-2)), Arm(name="small", recipe="small"))
    tree = compile_study(make_study(arms=arms), "data")
    assert [r.mark.budget_share for r in tree.routes if r.arm.name == "full"] == [1.0]


def test_with_a_constant_rate_all_marks_of_an_arm_are_on_its_longest_run():
    """So the marks of the released code at equal compute cost nothing beside the runs that it makes."""
    tree = compile_study(paper(preset="paper-as-released", scale=1e-4), "data")
    for arm in tree.study.arms:
        routes = [r for r in tree.routes if r.arm.name == arm.name]
        longest = max(routes, key=lambda r: r.mark.schedule.tokens)
        assert len(routes) > 1 and all(longest.keys[: len(r.keys)] == r.keys for r in routes)
        resets = [tree.nodes[key].segment.start for key in longest.keys if tree.nodes[key].segment.reset_moments]
        staged = [phase for phase in longest.mark.schedule.phases if phase.part is Part.STAGED]
        assert resets == [sum(phase.tokens for phase in staged)]


def test_the_released_baseline_shares_its_first_half_with_full_training():
    released = paper(preset="paper-as-released", scale=1e-4)
    arms = (*released.arms, Arm(name="without a reset", recipe="full"))
    tree = compile_study(replace(released, arms=arms), "data")
    assert shared_tokens(tree, route(tree, "full"), route(tree, "without a reset")) == released.baseline_tokens

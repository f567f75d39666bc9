"""Plans: what they add up to, how budgets are given, and what ramps do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.compute import paper
from deepen.compute.devices import DEVICES, Fleet
from deepen.compute.fit import checkpoint_to_fit, find_fitting_settings
from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan, make_plan
from deepen.compute.plan_recipe import plan_recipe
from deepen.compute.plan_request import PlanRequest
from deepen.errors import InvalidValueError, InvalidValuesError
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp, apply_ramps
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.schedule.trainable import TrainedParts

RAMPS = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9]), unique=True).map(lambda shares: [0.0, *sorted(shares)])
NANO, FLEET = PRESETS["nano"], Fleet(device=DEVICES["h100"], count=1, mfu=0.4)


def request(recipe: str = "two-phase", **changes: object) -> PlanRequest:
    given = {
        "model": NANO,
        "recipe": recipe,
        "options": {},
        "budget": 1000,
        "budget_unit": "steps",
        "batch_tokens": 1024,
        "context": 64,
        "ledger": Ledger(model=NANO),
        "memory": MemorySettings(),
    }
    return PlanRequest(**(given | changes))  # type: ignore[arg-type]


def flops_clock(phase: Phase, trained: TrainedParts) -> float:
    return FLEET.seconds(phase.tokens * Ledger(model=NANO).flops_per_token(trained, phase.context))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.integers(100, 3000))
def test_phases_add_up_to_the_total_and_the_total_meets_the_budget(recipe: str, steps: int):
    plan = make_plan(request(recipe, budget=steps))
    assert sum(planned.flops for planned in plan.phases) == plan.total.flops
    assert sum(planned.phase.tokens for planned in plan.phases) == plan.total.schedule.tokens
    assert plan.total.flops == pytest.approx(plan.baseline.flops, rel=1 / steps)
    assert plan.peak.memory.peak == max(planned.memory.peak for planned in plan.phases)


def test_a_budget_gives_the_same_plan_in_every_unit():
    plan = make_plan(request(), flops_clock)
    tokens = plan.baseline.schedule.tokens
    assert plan.baseline.seconds is not None
    budgets = {
        "tokens": tokens,
        "flops": plan.baseline.flops,
        "tokens_per_parameter": tokens / NANO.parameters_non_embedding,
        "hours": plan.baseline.seconds / 3600,
    }
    for unit, budget in budgets.items():
        same = make_plan(request(budget=budget, budget_unit=unit), flops_clock)
        assert same.baseline == plan.baseline and same.total == plan.total, unit
        assert same.budget_reached == pytest.approx(budget), unit


def test_at_a_constant_mfu_seconds_are_flops():
    plan = make_plan(request(), flops_clock)
    assert plan.marks["seconds"] == plan.marks["flops"]
    assert plan.staged_share["seconds"] == pytest.approx(plan.staged_share["flops"])


def test_where_shallow_steps_are_slow_equal_seconds_leave_less_continual_training():
    def every_step_the_same(phase: Phase, _trained: TrainedParts) -> float:
        return phase.tokens * 1e-6

    plan = make_plan(request("staged"), every_step_the_same)
    assert plan.marks["seconds"].continual_tokens == 0 < plan.marks["flops"].continual_tokens


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_at_equal_tokens_a_growing_run_trains_as_long_and_costs_less(recipe: str):
    plan = make_plan(request(recipe), flops_clock)
    if recipe == "full":
        assert plan.equal_tokens is None  # it is the baseline
        return
    same = plan.equal_tokens
    assert same is not None and same.schedule.tokens == plan.baseline.schedule.tokens
    assert same.flops == sum(phase_flops(request().ledger, same.schedule))
    depth = plan.baseline.schedule.depth
    costs_as_much = all(
        len(parts.executed) == depth and parts == TrainedParts.all(parts.depth, parts.layers)
        for parts in same.schedule.trained_parts
    )
    assert (same.flops == plan.baseline.flops) if costs_as_much else (same.flops < plan.baseline.flops)
    assert same.seconds is not None and same.seconds == pytest.approx(FLEET.seconds(same.flops))


def test_a_time_limit_stands_beside_a_budget():
    def plan_with(**changes: float) -> Plan:
        return plan_recipe("one-shot", model="nano", clock=flops_clock, **changes)  # type: ignore[arg-type]

    plan = plan_with(steps=1000, hours=1)
    assert plan.baseline == plan_with(steps=1000).baseline and plan.baseline.seconds is not None
    assert plan.fits_into_limit(plan.baseline) == pytest.approx(3600 / plan.baseline.seconds)
    hours = plan.baseline.seconds / 3600 / 2
    short = plan_with(steps=1000, hours=hours)
    assert short.fits_into_limit(short.baseline) == pytest.approx(0.5)
    assert plan_with(steps=1000).fits_into_limit(plan.baseline) is None
    assert plan_with(hours=hours).fits_into_limit(plan.baseline) is None  # alone, hours are the budget
    for wrong in ({"hours": 1}, {"hours": 1, "steps": 10}):
        with pytest.raises(InvalidValueError, match="hours need the seconds of a step"):
            plan_recipe("full", model="nano", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidValuesError, match="hours is 0"):
        plan_with(steps=10, hours=0)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0, 3.0])
def test_the_papers_mark_moves_with_the_price_of_a_backward_pass(ratio: float):
    plan = make_plan(request(ratio=ratio))
    share = plan.marks["paper"].continual_tokens / plan.baseline.schedule.tokens
    assert share == pytest.approx(float(paper.continual_share(4, ratio)), abs=1e-3)
    assert plan.ratios[ratio] == pytest.approx(share, abs=1e-3)


def test_the_papers_formula_is_for_its_own_comparison_only():
    assert "paper" not in make_plan(request("staged")).marks
    assert "paper" not in make_plan(request("two-phase", against="small")).marks


def test_a_budget_that_ends_inside_the_staged_part_is_explained_with_numbers():
    shallow = request("two-phase", against="small", options={"stages": 2, "partition": "11,1"})
    with pytest.raises(ValueError, match=r"two-phase against small: .* costs .* times as much"):
        make_plan(shallow)


def test_a_recipe_that_does_not_fit_keeps_the_field_at_fault():
    with pytest.raises(InvalidValueError, match=r"^staged against full: stages is 13") as wrong:
        make_plan(request("staged", options={"stages": 13}))
    assert (wrong.value.field, wrong.value.value) == ("stages", 13)


def test_a_plan_without_a_mark_in_seconds_gives_the_reason():
    def shallow_steps_cost_more(phase: Phase, _trained: TrainedParts) -> float:
        return phase.tokens / (1 + phase.depth)

    plan = make_plan(request("staged"), shallow_steps_cost_more)
    assert plan.marks.keys() == {"flops", "tokens"} and "costs" in plan.impossible["seconds"]


@pytest.mark.parametrize("unit", ["tokens", "steps", "flops", "hours", "tokens_per_parameter"])
def test_a_budget_of_too_many_steps_is_refused(unit: str):
    with pytest.raises(ValueError, match="more than 1,099,511,627,776 steps"):
        make_plan(request("full", budget=1e25, budget_unit=unit), flops_clock)


def test_a_ramp_is_the_recipes_and_the_budget_the_baselines():
    ramp = Ramp(steps=((0.0, 64), (0.1, 512)))
    plan = make_plan(request("full", budget=1000, batch_tokens=512, batch_ramp=ramp))
    assert plan.baseline.schedule.steps == 1000
    assert plan.total.schedule.steps == pytest.approx(800 + 900, abs=8)  # a tenth in steps of an eighth


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.integers(60, 300), RAMPS, st.data())
def test_a_ramped_mark_is_the_nearest_of_all(recipe: str, steps: int, shares: list[float], data: st.DataObject):
    ramp = Ramp(steps=tuple((share, data.draw(st.sampled_from([128, 512, 1024]))) for share in shares))
    largest = max(size for _, size in ramp.steps)
    wanted = request(recipe, budget=steps, batch_tokens=largest, batch_ramp=ramp)
    plan = make_plan(wanted)
    tokens, price = plan.baseline.schedule.tokens, []
    for total in range(tokens // largest - 5, 3 * tokens // largest):
        try:
            schedule = get_recipe(recipe).schedule(NANO, total * largest, tokens, {})
            schedule = apply_ramps(schedule, batch=ramp, batch_tokens=largest).in_steps(largest, 64)
        except ValueError:
            continue
        price.append(sum(phase_flops(wanted.ledger, schedule)))
    assert abs(plan.total.flops - plan.baseline.flops) == min(abs(each - plan.baseline.flops) for each in price)


def test_the_baseline_gets_the_options_that_its_recipe_has_too():
    plan = make_plan(request("two-phase", options={"stages": 6, "scope": "new-blocks-head"}, against="staged"))
    assert plan.request.against_options == {"stages": 6}
    assert [phase.depth for phase in plan.baseline.schedule.phases] == [2, 4, 6, 8, 10, 12]


def test_one_stage_is_a_staged_part_too():
    assert make_plan(request(options={"stages": 1})).staged_share == {"flops": 1.0, "paper": 1.0, "tokens": 1.0}


def test_all_problems_of_a_request_are_reported_together():
    with pytest.raises(InvalidValuesError) as wrong:
        request(context=128, batch_tokens=1000, limit_hours=0.0)
    lines = str(wrong.value).splitlines()
    assert len(lines) == 3 and all(
        any(word in line for line in lines) for word in ("hours", "64 positions", "1000")
    )
    assert [error.field for error in wrong.value.errors] == ["hours", "context", "batch_tokens"]
    with pytest.raises(InvalidValuesError) as wrong:
        request(budget=float("nan"), budget_unit="years", ratio=0.0)
    assert [error.field for error in wrong.value.errors] == ["budget_unit", "budget", "ratio"]


def test_the_settings_that_are_found_fit():
    model = PRESETS["llama-7b"]
    wanted = request(
        "full",
        model=model,
        ledger=Ledger(model=model),
        batch_tokens=1 << 22,
        context=4096,
        memory=MemorySettings(precision="bf16"),
    )
    plan, capacity = make_plan(wanted), 80 * 10**9
    assert plan.peak.memory.peak > capacity
    found = find_fitting_settings(plan, capacity)
    assert found is not None
    better = replace(wanted, memory=replace(wanted.memory, **found))
    assert make_plan(better).peak.memory.peak <= capacity
    assert find_fitting_settings(plan, 10**6) is None


def test_gradients_that_do_not_fit_whole_are_sent_in_each_micro_batch():
    model = PRESETS["llama-7b"]
    sharded = MemorySettings(precision="bf16", gpu=True, devices=32, sharded=True, micro_batch_tokens=4096)
    wanted = request("full", model=model, ledger=Ledger(model=model), batch_tokens=1 << 20, context=4096)
    once = make_plan(replace(wanted, memory=replace(sharded, reduce_once=True)))
    each = make_plan(replace(wanted, memory=replace(sharded, reduce_once=False)))
    whole, held = 4 * model.parameters, 4 * model.parameters // 32
    assert once.peak.memory.peak - each.peak.memory.peak == pytest.approx(whole - held, rel=0.01)
    assert find_fitting_settings(once, each.peak.memory.peak) == {"reduce_once": False}
    for memory_bytes, expected in ((2 * once.peak.memory.peak, once), (once.peak.memory.peak, each)):
        chosen = replace(sharded, device_bytes=memory_bytes)
        assert make_plan(replace(wanted, memory=chosen)).peak.memory == expected.peak.memory


@pytest.mark.parametrize(("gigabytes", "is_chosen"), [(400, False), (150, True), (50, False)])
def test_activation_checkpointing_is_planned_only_where_it_makes_a_run_fit(gigabytes: int, is_chosen: bool):
    model, memory = PRESETS["llama-7b"], MemorySettings(precision="bf16", gpu=True, micro_batch_tokens=1 << 14)
    wanted = request(
        "full", model=model, ledger=Ledger(model=model), batch_tokens=1 << 22, context=4096, memory=memory
    )
    smaller = checkpoint_to_fit(make_plan(wanted), gigabytes * 10**9)
    assert (smaller is not None) == is_chosen
    if smaller is not None:
        plan = make_plan(smaller)
        assert plan.peak.memory.peak <= gigabytes * 10**9
        assert plan.total.flops / plan.total.schedule.tokens > 1.2 * 6 * model.parameters_non_embedding


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(ValueError, match="less than one step"):
        make_plan(request("full", budget=10, budget_unit="flops"))


def test_a_recipe_is_planned_by_name_with_the_usual_sizes_of_the_model():
    plan = plan_recipe("two-phase", model="nano", options={"stages": 2}, steps=1000)
    assert plan == make_plan(request("two-phase", options={"stages": 2}))
    usual = plan_recipe("full").request
    assert (usual.model.name, usual.budget, usual.budget_unit) == ("gpt2-124m", 10_000, "steps")


def test_a_recipe_is_planned_for_one_budget():
    with pytest.raises(InvalidValueError, match="tokens and steps all set the budget"):
        plan_recipe("full", tokens=1e9, steps=10)
    with pytest.raises(InvalidValueError, match="model 'gpt5' is unknown"):
        plan_recipe("full", model="gpt5")
    with pytest.raises(InvalidValueError, match="recipe 'ful' is unknown"):
        plan_recipe("ful")


def test_devices_share_a_batch_of_whole_sequences():
    with pytest.raises(ValueError, match="use batch_tokens with 2048"):
        request(memory=MemorySettings(devices=32))


def test_a_ramp_of_one_value_changes_no_cost():
    plain = make_plan(request())
    same = make_plan(request(batch_ramp=Ramp(steps=((0.0, 1024),)), context_ramp=Ramp(steps=((0.0, 64),))))
    assert same.total.flops == plain.total.flops and same.baseline.flops == plain.baseline.flops


def test_a_shorter_context_at_first_costs_less():
    plan = make_plan(request("full", context_ramp=Ramp(steps=((0.0, 16), (0.5, 64)))))
    assert plan.marks["tokens"].schedule.tokens == plan.baseline.schedule.tokens
    assert plan.marks["tokens"].flops < plan.baseline.flops
    assert plan.total.schedule.tokens > plan.baseline.schedule.tokens
    assert (plan.request.run_name, plan.request.against_name) == ("full with ramp", "full")


def test_a_model_larger_than_this_machine_is_planned(request_of_70b: Plan):
    assert request_of_70b.request.model.parameters == 68_976_648_192
    assert request_of_70b.peak.memory.peak < 10**12


@pytest.fixture
def request_of_70b() -> Plan:
    model: ModelConfig = PRESETS["llama-70b"]
    return make_plan(
        request(
            model=model,
            ledger=Ledger(model=model),
            batch_tokens=1024 * 4096,
            context=4096,
            memory=MemorySettings(precision="bf16", devices=1024, sharded=True),
        )
    )

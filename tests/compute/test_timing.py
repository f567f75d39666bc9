from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.bench.workload import phase_kinds
from deepen.compute.ledger import Role
from deepen.compute.timing import MeasuredPhase, Timing, fit_timing, misfit
from deepen.growth.layout import PLACEMENTS
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts

NANO = PRESETS["nano"]
RUN = {"device": "a machine", "precision": "fp32", "context": 64, "batch_tokens": 1024}
seconds = st.one_of(st.just(0.0), st.floats(1e-9, 1e-3))


def timing(**changes: Any) -> Timing:
    ingredients = {
        "block": {Role.FORWARD: 1e-6, Role.THROUGH: 2.5e-6, Role.TRAINED: 3e-6},
        "head_frozen": 0.0,
        "head_trained": 5e-7,
        "base": 7e-6,
    }
    return Timing(**(RUN | {"model": NANO} | ingredients | changes))


def exactly(true: Timing, model: ModelConfig) -> list[MeasuredPhase]:
    """What a bench would measure on a machine that is the sum of its ingredients."""
    return [
        MeasuredPhase(
            phase=kind.phase, trained=kind.trained, seconds_per_token=true.seconds_per_token(kind.trained)
        )
        for kind in phase_kinds(model, true.batch_tokens, true.context)
    ]


def refitted(true: Timing, model: ModelConfig) -> Timing:
    return fit_timing(exactly(true, model), **(RUN | {"model": model}))


def test_a_phase_takes_the_sum_of_its_ingredients():
    true = timing(head_frozen=2e-7)
    top, bottom = (Trainable.NEW_BLOCKS.resolve(12, blocks) for blocks in ((9, 10, 11), (0, 1)))
    assert true.seconds_per_token(top) == pytest.approx(7e-6 + 9 * 1e-6 + 3 * 3e-6 + 2e-7)
    assert true.seconds_per_token(bottom) == pytest.approx(7e-6 + 10 * 2.5e-6 + 2 * 3e-6 + 2e-7)
    assert true.seconds_per_token(TrainedParts.all(12)) == pytest.approx(7e-6 + 12 * 3e-6 + 5e-7)
    assert true.seconds_per_token(TrainedParts.all(0)) == pytest.approx(7e-6 + 5e-7)


@pytest.mark.parametrize("depth", [2, 3, 5, 12, 80])
def test_a_fit_recovers_exact_ingredients(depth: int):
    model = replace(NANO, depth=depth)
    true, found = timing(model=model), refitted(timing(model=model), model)
    assert found.block == pytest.approx(true.block)
    assert (found.head_trained, found.base) == pytest.approx((true.head_trained, true.base))
    assert found.head_frozen == pytest.approx(0, abs=1e-12)


@given(st.integers(1, 24), st.lists(seconds, min_size=5, max_size=5), st.floats(1e-9, 1e-3))
def test_where_seconds_are_sums_a_fit_predicts_every_phase(depth: int, drawn: list[float], base: float):
    model = replace(NANO, depth=depth)
    forward, through, trained, head_frozen, head_trained = drawn
    block = {Role.FORWARD: forward, Role.THROUGH: through, Role.TRAINED: trained}
    true = timing(model=model, block=block, head_frozen=head_frozen, head_trained=head_trained, base=base)
    found = refitted(true, model)
    assert misfit(found, exactly(true, model)) < 1e-6
    for trainable, placement, part in product(TRAINABLE_SETS.values(), PLACEMENTS, (2, 3)):
        if depth >= part:  # growth from some blocks to more, which a bench need not have measured
            step = Growth(placement=placement).resolve(depth - depth // part, depth)
            parts = trainable.resolve(depth, step.new_blocks)
            assert found.seconds_per_token(parts) == pytest.approx(true.seconds_per_token(parts), rel=1e-5)


def test_the_cheaper_head_is_part_of_the_base():
    found = refitted(timing(head_frozen=2e-6, head_trained=3e-6, base=1e-6), NANO)
    assert (found.head_frozen, found.head_trained, found.base) == pytest.approx((0, 1e-6, 3e-6), abs=1e-12)


@given(st.lists(st.floats(0.8, 1.25), min_size=13, max_size=13), st.sampled_from([0.99, 1.01]))
def test_changing_any_ingredient_makes_the_fit_worse(noise: list[float], factor: float):
    """The fit is the best in shares of what each phase took: a shallow one counts as much as a deep one."""
    measured = [
        replace(each, seconds_per_token=each.seconds_per_token * by)
        for each, by in zip(exactly(timing(), NANO), noise, strict=True)
    ]

    def error(true: Timing) -> float:
        return sum(misfit(true, [each]) ** 2 for each in measured)

    found = fit_timing(measured, **RUN, model=NANO)
    moved = [replace(found, block={**found.block, role: factor * found.block[role]}) for role in Role]
    moved += [replace(found, **{name: factor * getattr(found, name)}) for name in ("head_trained", "base")]
    assert error(found) <= min(error(other) for other in moved) * (1 + 1e-9)


def test_a_timing_holds_only_for_its_model_and_context():
    timing().check(NANO, 64, 1024)
    timing().check(replace(NANO, name="another name"), 64, 1024)
    with pytest.raises(ValueError, match=r"run a bench with model nano context 32 batch_tokens 1024$") as wrong:
        timing().check(NANO, 32, 1024)
    assert "nano at context 64" in str(wrong.value) and "nano at context 32" in str(wrong.value)
    with pytest.raises(
        ValueError, match=r"width 64, not 20.*run a bench with model micro context 64 batch_tokens 1024$"
    ):
        timing().check(PRESETS["micro"], 64, 1024)
    with pytest.raises(
        ValueError, match=r"vocab 2048, not 1024.*model nano vocab 2048 context 64 batch_tokens 1024$"
    ):
        timing().check(replace(NANO, vocab=2048), 64, 1024)
    with pytest.raises(
        ValueError, match=r"depth 3, not 12.*the sizes of the model, and with context 64 batch_tokens 1024$"
    ):
        timing().check(replace(NANO, name="custom", depth=3), 64, 1024)


def test_a_timing_holds_only_for_its_batch():
    with pytest.raises(ValueError, match=r"with 1,024 tokens a step, not .* with 4,096: .*batch_tokens 4096$"):
        timing().check(NANO, 64, 4096)

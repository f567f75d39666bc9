import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.bench.workload import phase_kinds
from deepen.compute.ledger import Role
from deepen.compute.timing import MeasuredPhase, Timing, fit_timing, misfit, read_timing
from deepen.growth.layout import PLACEMENTS, find_new_blocks
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


def exactly(told: Timing, model: ModelConfig) -> list[MeasuredPhase]:
    """What a bench would measure on a machine that is the sum of its ingredients."""
    return [
        MeasuredPhase(
            phase=kind.phase, trained=kind.trained, seconds_per_token=told.seconds_per_token(kind.trained)
        )
        for kind in phase_kinds(model, told.batch_tokens, told.context)
    ]


def refitted(told: Timing, model: ModelConfig) -> Timing:
    return fit_timing(exactly(told, model), **(RUN | {"model": model}))


def test_a_phase_takes_the_sum_of_its_ingredients():
    told = timing(head_frozen=2e-7)
    top, bottom = (Trainable.NEW_BLOCKS.resolve(12, blocks) for blocks in ((9, 10, 11), (0, 1)))
    assert told.seconds_per_token(top) == pytest.approx(7e-6 + 9 * 1e-6 + 3 * 3e-6 + 2e-7)
    assert told.seconds_per_token(bottom) == pytest.approx(7e-6 + 10 * 2.5e-6 + 2 * 3e-6 + 2e-7)
    assert told.seconds_per_token(TrainedParts.all(12)) == pytest.approx(7e-6 + 12 * 3e-6 + 5e-7)
    assert told.seconds_per_token(TrainedParts.all(0)) == pytest.approx(7e-6 + 5e-7)


@pytest.mark.parametrize("depth", [2, 3, 5, 12, 80])
def test_exact_ingredients_are_found_again(depth: int):
    model = replace(NANO, depth=depth)
    told, found = timing(model=model), refitted(timing(model=model), model)
    assert found.block == pytest.approx(told.block)
    assert (found.head_trained, found.base) == pytest.approx((told.head_trained, told.base))
    assert found.head_frozen == pytest.approx(0, abs=1e-12)


@given(st.integers(1, 24), st.lists(seconds, min_size=5, max_size=5), st.floats(1e-9, 1e-3))
def test_where_seconds_are_sums_the_fit_reproduces_every_phase_of_the_bench_and_any_other(
    depth: int, drawn: list[float], base: float
):
    model = replace(NANO, depth=depth)
    forward, through, trained, head_frozen, head_trained = drawn
    block = {Role.FORWARD: forward, Role.THROUGH: through, Role.TRAINED: trained}
    told = timing(model=model, block=block, head_frozen=head_frozen, head_trained=head_trained, base=base)
    found = refitted(told, model)
    assert misfit(found, exactly(told, model)) < 1e-6
    for trainable, placement, part in product(TRAINABLE_SETS.values(), PLACEMENTS.values(), (2, 3)):
        if depth >= part:  # growth from some blocks to more, which a bench need not have measured
            layout = placement.arrange(depth - depth // part, depth // part)
            parts = trainable.resolve(depth, find_new_blocks(layout))
            assert found.seconds_per_token(parts) == pytest.approx(told.seconds_per_token(parts), rel=1e-5)


def test_the_cheaper_head_is_in_the_base():
    found = refitted(timing(head_frozen=2e-6, head_trained=3e-6, base=1e-6), NANO)
    assert (found.head_frozen, found.head_trained, found.base) == pytest.approx((0, 1e-6, 3e-6), abs=1e-12)


@given(st.lists(st.floats(0.8, 1.25), min_size=13, max_size=13), st.sampled_from([0.99, 1.01]))
def test_no_ingredient_can_move_and_bring_the_shares_nearer(noise: list[float], factor: float):
    """The fit is the best in shares of what each phase took: a shallow one counts as much as a deep one."""
    measured = [
        replace(each, seconds_per_token=each.seconds_per_token * by)
        for each, by in zip(exactly(timing(), NANO), noise, strict=True)
    ]

    def missed(told: Timing) -> float:
        return sum(misfit(told, [each]) ** 2 for each in measured)

    found = fit_timing(measured, **RUN, model=NANO)
    moved = [replace(found, block={**found.block, role: factor * found.block[role]}) for role in Role]
    moved += [replace(found, **{name: factor * getattr(found, name)}) for name in ("head_trained", "base")]
    assert missed(found) <= min(missed(other) for other in moved) * (1 + 1e-9)


def test_a_timing_is_of_its_model_and_context():
    timing().check(NANO, 64, 1024)
    timing().check(replace(NANO, name="another name"), 64, 1024)
    with pytest.raises(ValueError, match=r"deepen bench --model nano --context 32 --batch-tokens 1024$") as wrong:
        timing().check(NANO, 32, 1024)
    assert "nano at context 64" in str(wrong.value) and "nano at context 32" in str(wrong.value)
    with pytest.raises(
        ValueError, match=r"width 64, not 20.*deepen bench --model micro --context 64 --batch-tokens 1024$"
    ):
        timing().check(PRESETS["micro"], 64, 1024)
    with pytest.raises(
        ValueError, match=r"vocab 2048, not 1024.*--model nano --vocab 2048 --context 64 --batch-tokens 1024$"
    ):
        timing().check(replace(NANO, vocab=2048), 64, 1024)
    with pytest.raises(
        ValueError, match=r"depth 3, not 12.*the model's own options and --context 64 --batch-tokens 1024$"
    ):
        timing().check(replace(NANO, name="custom", depth=3), 64, 1024)


def test_a_timing_is_of_its_batch():
    with pytest.raises(ValueError, match=r"with 1,024 tokens a step; .* with 4,096: .*--batch-tokens 4096$"):
        timing().check(NANO, 64, 4096)


def test_what_is_written_is_read(tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(timing().described() | {"phases": [], "misfit": 0.1}))
    assert read_timing(path) == timing()


def changed(*keys: str, to: Any = None) -> str:
    """A bench file with one entry changed, or left out."""
    content = timing().described()
    at = content
    for key in keys[:-1]:
        at = at[key]
    if to is None:
        del at[keys[-1]]
    else:
        at[keys[-1]] = to
    return json.dumps(content)


BROKEN = {
    "empty": ("", "not JSON"),
    "cut off": (json.dumps(timing().described())[:-20], "not JSON"),
    "nested without end": ("[" * 100_000, "not JSON"),
    "another thing": ("[1, 2]", "no object"),
    "no model": (changed("model"), "model is no object"),
    "no depth": (changed("model", "depth"), "model has no depth"),
    "no timing": (changed("timing"), "timing is no object"),
    "timing a list": (changed("timing", to=[1.0]), "timing is no object"),
    "no block": (changed("timing", "block"), "block is no object"),
    "no role": (changed("timing", "block", "trained"), "block has no trained"),
    "no base": (changed("timing", "base"), "timing has no base"),
    "no device, no context": (json.dumps({"precision": "", "batch_tokens": 1}), "has no device, context"),
    "text for seconds": (changed("timing", "base", to="1e-6"), "base of timing is '1e-6', no number"),
    "truth for seconds": (changed("timing", "base", to=True), "base of timing is 'True', no number"),
    "NaN": (changed("timing", "head_trained", to=float("nan")), "head_trained of timing is 'nan'"),
    "infinite": (changed("timing", "block", "trained", to=float("inf")), "trained of block is 'inf'"),
    "beyond any float": (changed("timing", "base", to=10**400), "base of timing is '1000"),
    "negative": (changed("timing", "block", "forward only", to=-1e-9), "'forward only' are -1e-09"),
    "no time": (changed("timing", to={**dict.fromkeys(("head_frozen", "head_trained", "base"), 0),
                                      "block": dict.fromkeys(Role, 0)}), "0 seconds"),
    "half a token": (changed("context", to=64.5), "context of the file is '64.5', no whole number"),
    "no tokens": (changed("batch_tokens", to=0), "batch_tokens is 0"),
    "no such model": (changed("model", "heads", to=3), "width 20 is not a multiple of heads 3"),
    "head of text": (changed("model", "tied", to="yes"), "tied of model is 'yes', no true or false"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_one_line(content: str, words: str, tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(ValueError) as wrong:
        read_timing(path)
    said = str(wrong.value)
    assert words in said and str(path) in said and f"deepen bench --out {path}" in said
    assert len(said.splitlines()) == 1 and type(wrong.value) is ValueError


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"does not exist: write one with deepen bench --out"):
        read_timing(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"is no file"):
        read_timing(tmp_path)
    binary = tmp_path / "bench.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"not JSON"):
        read_timing(binary)

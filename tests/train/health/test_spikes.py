"""Loss spikes are found, logged, and handled by the rule of `on_spike`."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset, Tokens
from deepen.growth.operators import OPERATORS
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.study.compile.keys import comparable
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.run.job import Job
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.errors import TrainingError
from deepen.train.health.spikes import MIN_LOSSES, SPIKE_SCORE, WINDOW, spike_score
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state
from short_runs import (
    BATCH_TOKENS,
    CONTEXT,
    NOISE_FROM,
    STEPS,
    discard,
    is_same,
    short_engine,
    short_segment,
)

Lines = list[dict[str, Any]]


def train(
    model: ModelConfig, tokens: Tokens, on_spike: str, cuts: tuple[int, ...] = (), folder: Path | None = None
) -> tuple[TrainState, Lines]:
    """Train on the noisy data; at every cut, in steps, the state goes through a folder."""
    state, lines = initial_state(model, model.depth, seed=0), Lines()
    for until in (*cuts, STEPS):
        engine = short_engine(model, tokens, state, on_spike=on_spike)
        engine.run(
            until * BATCH_TOKENS, lambda progress, measured: lines.append({"step": progress.step} | measured)
        )
        state = engine.state()
        if folder is not None:
            save_state(state, folder / "state")
            state = load_state(folder / "state")
    return state, lines


def spikes(lines: Lines) -> list[int]:
    return [line["step"] for line in lines if "spike" in line]


def test_a_batch_of_noise_is_a_spike_and_nothing_else_is(shallow: ModelConfig, noisy: Tokens):
    state, lines = train(shallow, noisy, "warn")
    assert spikes(lines) == [NOISE_FROM + 1]
    assert lines[NOISE_FROM]["spike"] > SPIKE_SCORE and "skipped" not in lines[NOISE_FROM]
    assert state.recent_losses == tuple(line["loss"] for line in lines)


def test_a_skipped_spike_counts_as_a_step_but_moves_nothing(shallow: ModelConfig, noisy: Tokens):
    engine = short_engine(shallow, noisy, on_spike="skip")
    engine.run(NOISE_FROM * BATCH_TOKENS, discard)
    before, lines = engine.state(), Lines()
    engine.run((NOISE_FROM + 1) * BATCH_TOKENS, lambda progress, measured: lines.append(measured))
    after = engine.state()
    assert lines[0]["skipped"] is True and after.recent_losses == (*before.recent_losses, lines[0]["loss"])
    assert is_same(replace(after, progress=before.progress, recent_losses=before.recent_losses), before)
    warned, _ = train(shallow, noisy, "warn", cuts=(NOISE_FROM + 1,))
    engine.run(STEPS * BATCH_TOKENS, discard)
    assert replace(engine.progress, seconds=0) == replace(warned.progress, seconds=0)
    assert all(moments["step"] == STEPS - 1 for moments in engine.state().moments.values())


def test_a_spike_that_stops_the_run_leaves_the_state_before_it(shallow: ModelConfig, noisy: Tokens):
    engine = short_engine(shallow, noisy, on_spike="stop")
    with pytest.raises(TrainingError, match=f"step {NOISE_FROM + 1} .*on_spike warn"):
        engine.run(STEPS * BATCH_TOKENS, discard)
    left = engine.state()
    assert left.progress.step == len(left.recent_losses) == NOISE_FROM
    continued = short_engine(shallow, noisy, left)
    continued.run(STEPS * BATCH_TOKENS, discard)
    assert is_same(continued.state(), train(shallow, noisy, "warn")[0])


@pytest.mark.slow
@pytest.mark.parametrize("on_spike", ["warn", "skip"])
def test_a_run_cut_at_any_step_around_a_spike_equals_an_uncut_one(
    on_spike: str, shallow: ModelConfig, noisy: Tokens, tmp_path: Path
):
    whole, lines = train(shallow, noisy, on_spike)
    for cut in range(NOISE_FROM - 2, NOISE_FROM + 4):
        parts, cut_lines = train(shallow, noisy, on_spike, cuts=(10, cut), folder=tmp_path)
        assert is_same(parts, whole) and cut_lines == lines


def test_the_losses_of_ordinary_training_are_not_spikes():
    draw = random.Random(0)
    losses: list[float] = []
    scores = []
    for step in range(20_000):  # a falling curve with the noise of small batches
        loss = 3 + 3 * math.exp(-step / 2000) + draw.gauss(0, 0.1)
        scores.append(spike_score(losses[-WINDOW:], loss))
        losses.append(loss)
    assert max(scores) < SPIKE_SCORE and scores[:MIN_LOSSES] == [0.0] * MIN_LOSSES


def test_small_changes_of_a_smooth_curve_and_a_lasting_new_level_are_not_spikes():
    assert spike_score([3.0] * WINDOW, 3.02) < SPIKE_SCORE < spike_score([3.0] * WINDOW, 3.1)
    assert spike_score([3.0] * WINDOW, 0.0) < 0
    risen = [3.0] * (WINDOW // 2 - 1) + [6.0] * (WINDOW // 2 + 1)
    assert spike_score(risen, 6.0) < SPIKE_SCORE  # after half a window, a new level is the normal one


@pytest.mark.parametrize("operator", OPERATORS)
def test_growth_drops_the_losses_before_it(operator: str, shallow: ModelConfig):
    deeper = replace(shallow, depth=4)
    state = replace(initial_state(deeper, 2, seed=0), recent_losses=(1.0,) * WINDOW)
    segment = short_segment(deeper)
    grown = replace(segment, growth=Growth(operator=operator).resolve(2, 4))
    assert begin_segment(state, grown, deeper).recent_losses == ()
    assert begin_segment(state, replace(segment, depth=2), deeper).recent_losses == state.recent_losses


def test_a_run_stopped_by_a_spike_keeps_every_step_and_continues_with_warn(
    make_study: Callable[..., Study], noisy_data: Dataset, shallow: ModelConfig, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    base = make_study(
        model=shallow, arms=(Arm(name="full", recipe="full"),), tokens=STEPS * 32, anchors=(1.0,),
        rate=Constant(peak=3e-2),
    )  # fmt: skip
    outcomes = {}
    for how in (("warn",), ("stop", "stop", "warn")):
        store = Store(tmp_path / how[0])
        for on_spike in how:
            study = replace(base, settings=TrainSettings(on_spike=on_spike))
            store.open(study, {})
            tree = compile_study(study, "noisy")
            [node] = tree.nodes.values()
            job = Job(
                node=node, folder=store.folder, model=shallow, settings=study.settings,
                validation_tokens=512, mark_tokens=512, dataset=noisy_data, window=CONTEXT,
            )  # fmt: skip
            if on_spike == "stop":
                with pytest.raises(TrainingError, match="spike"):
                    train_segment(job, lambda: False)
                assert store.segment(node.key).state().progress.step == NOISE_FROM
                assert capsys.readouterr().err == ""
            else:
                assert train_segment(job, lambda: False)
                printed = capsys.readouterr().err.splitlines()
                assert (
                    len(printed) == 1
                    and f"step {NOISE_FROM + 1} " in printed[0]
                    and printed[0].startswith("warning: ")
                )
        folder = store.segment(node.key)
        outcomes[how] = folder.state(), [line | {"seconds": 0} for line in folder.lines("metrics")]
    (one, lines), (other, other_lines) = outcomes.values()
    assert is_same(one, other) and lines == other_lines and spikes(lines) == [NOISE_FROM + 1]


def test_only_skip_changes_numbers_and_therefore_keys(make_study: Callable[..., Study]):
    studies = {on: replace(make_study(), settings=TrainSettings(on_spike=on)) for on in ("warn", "stop", "skip")}
    keys = {on: set(compile_study(study, "data").nodes) for on, study in studies.items()}
    assert keys["warn"] == keys["stop"] == set(compile_study(make_study(), "data").nodes)
    assert not keys["warn"] & keys["skip"]
    forms = {on: comparable(study) for on, study in studies.items()}
    assert forms["warn"] == forms["stop"] != forms["skip"]  # so a folder can be continued with the other

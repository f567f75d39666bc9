"""Losses that jump, weights that begin wrong, numbers that are none: said, and acted on, before any harm."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset, Tokens
from deepen.growth.operators import OPERATORS
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Growth
from deepen.schedule.rate import Constant
from deepen.schedule.recipes import full, small
from deepen.study.compile.pieces import split_schedule
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.run.worker import Job, train_segment
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.engine import Engine
from deepen.train.errors import TrainingError
from deepen.train.health.spikes import MIN_LOSSES, SPIKE_SCORE, WINDOW, spike_score
from deepen.train.placement import SingleProcess
from deepen.train.segment import Segment, begin_segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state

CPU = SingleProcess(torch.device("cpu"))
CONTEXT, STEPS, NOISE_FROM = 16, 48, 40
Lines = list[dict[str, Any]]


@pytest.fixture(scope="session")
def shallow(model: ModelConfig) -> ModelConfig:
    return replace(model, depth=2, width=16)


def segment_of(model: ModelConfig) -> Segment:
    schedule = replace(full(model, STEPS * 2 * CONTEXT), lr=Constant(peak=3e-2))
    [segment] = split_schedule(schedule.in_steps(2 * CONTEXT, CONTEXT), Ledger(model=model))
    return segment


def train(
    model: ModelConfig, tokens: Tokens, on_spike: str, cuts: tuple[int, ...] = (), folder: Path | None = None
) -> tuple[TrainState, Lines]:
    """Train on the noisy data; at every cut, in steps, the state goes through a folder."""
    segment, lines = segment_of(model), Lines()
    state, batches = initial_state(model, model.depth, seed=0), Batches(tokens, CONTEXT, seed=0)
    for until in (*cuts, STEPS):
        engine = Engine(state, segment, model, batches, TrainSettings(on_spike=on_spike), CPU)
        engine.run(
            until * 2 * CONTEXT, lambda progress, measured: lines.append({"step": progress.step} | measured)
        )
        state = engine.state()
        if folder is not None:
            save_state(state, folder / "state")
            state = load_state(folder / "state")
    return state, lines


def same(a: TrainState, b: TrainState) -> bool:
    return (
        all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
        and a.moments.keys() == b.moments.keys()
        and all(torch.equal(a.moments[n][k], b.moments[n][k]) for n in a.moments for k in a.moments[n])
        and replace(a.progress, seconds=0) == replace(b.progress, seconds=0)
        and a.recent_losses == b.recent_losses
    )


def spikes(lines: Lines) -> list[int]:
    return [line["step"] for line in lines if "spike" in line]


def test_a_batch_of_noise_is_a_spike_and_nothing_else_is(shallow: ModelConfig, noisy: Tokens):
    state, lines = train(shallow, noisy, "warn")
    assert spikes(lines) == [NOISE_FROM + 1]
    assert lines[NOISE_FROM]["spike"] > SPIKE_SCORE and "skipped" not in lines[NOISE_FROM]
    assert state.recent_losses == tuple(line["loss"] for line in lines)


def test_a_spike_that_is_skipped_moves_nothing_but_counts(shallow: ModelConfig, noisy: Tokens):
    segment, batches = segment_of(shallow), Batches(noisy, CONTEXT, seed=0)
    fresh = initial_state(shallow, shallow.depth, seed=0)
    engine = Engine(fresh, segment, shallow, batches, TrainSettings(on_spike="skip"), CPU)
    engine.run(NOISE_FROM * 2 * CONTEXT, lambda *_: None)
    before, lines = engine.state(), Lines()
    engine.run((NOISE_FROM + 1) * 2 * CONTEXT, lambda progress, measured: lines.append(measured))
    after = engine.state()
    assert lines[0]["skipped"] is True and after.recent_losses == (*before.recent_losses, lines[0]["loss"])
    assert same(replace(after, progress=before.progress, recent_losses=before.recent_losses), before)
    warned, _ = train(shallow, noisy, "warn", cuts=(NOISE_FROM + 1,))
    engine.run(segment.end, lambda *_: None)
    assert replace(engine.progress, seconds=0) == replace(warned.progress, seconds=0)
    assert all(kept["step"] == STEPS - 1 for kept in engine.state().moments.values())


def test_a_spike_that_stops_leaves_the_state_before_it(shallow: ModelConfig, noisy: Tokens):
    segment, batches = segment_of(shallow), Batches(noisy, CONTEXT, seed=0)
    fresh = initial_state(shallow, shallow.depth, seed=0)
    engine = Engine(fresh, segment, shallow, batches, TrainSettings(on_spike="stop"), CPU)
    with pytest.raises(TrainingError, match=f"step {NOISE_FROM + 1} .*on_spike warn"):
        engine.run(segment.end, lambda *_: None)
    left = engine.state()
    assert left.progress.step == len(left.recent_losses) == NOISE_FROM
    gone_on = Engine(left, segment, shallow, batches, TrainSettings(), CPU)
    gone_on.run(segment.end, lambda *_: None)
    assert same(gone_on.state(), train(shallow, noisy, "warn")[0])


@pytest.mark.parametrize("on_spike", ["warn", "skip"])
def test_a_run_cut_at_any_step_around_a_spike_equals_an_uncut_one(
    on_spike: str, shallow: ModelConfig, noisy: Tokens, tmp_path: Path
):
    whole, lines = train(shallow, noisy, on_spike)
    for cut in range(NOISE_FROM - 2, NOISE_FROM + 4):
        parts, cut_lines = train(shallow, noisy, on_spike, cuts=(10, cut), folder=tmp_path)
        assert same(parts, whole) and cut_lines == lines


def test_ordinary_losses_are_no_spikes_and_too_few_say_nothing():
    draw = random.Random(0)
    losses: list[float] = []
    scores = []
    for step in range(20_000):  # a falling curve with the noise of small batches
        loss = 3 + 3 * math.exp(-step / 2000) + draw.gauss(0, 0.1)
        scores.append(spike_score(losses[-WINDOW:], loss))
        losses.append(loss)
    assert max(scores) < SPIKE_SCORE and scores[:MIN_LOSSES] == [0.0] * MIN_LOSSES
    assert spike_score([3.0] * WINDOW, 3.02) < SPIKE_SCORE < spike_score([3.0] * WINDOW, 3.1)
    assert spike_score([3.0] * WINDOW, 0.0) < 0
    risen = [3.0] * (WINDOW // 2 - 1) + [6.0] * (WINDOW // 2 + 1)
    assert spike_score(risen, 6.0) < SPIKE_SCORE  # where it rose for good, it is soon what is expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_growth_forgets_the_losses_before_it(operator: str, shallow: ModelConfig):
    deeper = replace(shallow, depth=4)
    state = replace(initial_state(deeper, 2, seed=0), recent_losses=(1.0,) * WINDOW)
    grown = replace(segment_of(deeper), growth=Growth(operator=operator))
    assert begin_segment(state, grown, deeper).recent_losses == ()
    assert begin_segment(state, replace(segment_of(deeper), depth=2), deeper).recent_losses == state.recent_losses


def broken(shallow: ModelConfig, dataset: Dataset, **settings: Any) -> Engine:
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    fresh = initial_state(shallow, shallow.depth, seed=0)
    return Engine(fresh, segment_of(shallow), shallow, batches, TrainSettings(**settings), CPU)


def test_fresh_models_pass_the_check_at_every_depth_without_a_trace(any_model: ModelConfig, dataset: Dataset):
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    for depth in range(any_model.depth):
        schedule = replace(small(any_model, 320, start_depth=depth), lr=Constant()).in_steps(32, CONTEXT)
        [segment] = split_schedule(schedule, Ledger(model=any_model))
        fresh = initial_state(any_model, depth, seed=depth)
        checked, other = (Engine(fresh, segment, any_model, batches, TrainSettings(), CPU) for _ in range(2))
        checked.check_initialization()
        checked.run(64, lambda *_: None)
        other.run(64, lambda *_: None)
        assert same(checked.state(), other.state())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("blocks.1.mlp.up.weight", lambda weight: weight.mul_(math.nan), "blocks.1.mlp.up.weight goes up to nan"),
        ("blocks.1.mlp.up.weight", lambda weight: weight.mul_(100), "blocks.1.mlp.up.weight goes up to"),
        ("blocks.0.attention.out.weight", lambda weight: weight.zero_(), "out.weight has root mean square 0"),
        ("blocks.1.norm_2.weight", lambda weight: weight.fill_(3), "blocks.1.norm_2.weight goes up to 3"),
        ("token_embedding.weight", lambda weight: weight.sub_(1), "token_embedding.weight goes up to"),
    ],
    ids=["nan", "too large", "zero", "norm", "shifted"],
)  # fmt: skip
def test_wrong_fresh_weights_are_named(
    name: str, change: Callable[[Tensor], Tensor], words: str, shallow: ModelConfig, dataset: Dataset
):
    engine = broken(shallow, dataset)
    with torch.no_grad():
        change(dict(engine.model.named_parameters())[name])
    with pytest.raises(TrainingError, match=words):
        engine.check_initialization()


def test_a_network_that_blows_up_or_guesses_wrong_is_named(shallow: ModelConfig, dataset: Dataset):
    engine = broken(shallow, dataset)
    block = engine.model.blocks[1]
    engine.model.blocks[1].forward = lambda x, f=block.forward: 1000 * f(x)
    with pytest.raises(TrainingError, match=r"after blocks.1 have root mean square"):
        engine.check_initialization()
    engine = broken(shallow, dataset)
    norm = engine.model.norm
    norm.forward = lambda x, f=norm.forward: 100 * f(x)  # type: ignore[method-assign, misc]
    with pytest.raises(TrainingError, match="loss before the first step is"):
        engine.check_initialization()


def test_the_guard_names_parameters_that_a_network_keeps_from_learning(shallow: ModelConfig, dataset: Dataset):
    engine = broken(shallow, dataset)
    mlp = engine.model.blocks[1].mlp
    mlp.forward = lambda x, f=mlp.forward: f(x).detach()
    before = engine.state()
    with pytest.raises(AssertionError, match=r"no gradient for \['blocks.1.mlp.down.bias'"):
        engine.run(64, lambda *_: None)
    assert same(engine.state(), before)


class Inverse(torch.autograd.Function):
    """Finite forward and, for the sequence that holds a 1 as its second token, a gradient that is not."""

    @staticmethod
    def forward(context: Any, x: Tensor, bad: Tensor) -> Tensor:
        context.bad = bad
        return x.clone()

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return torch.where(context.bad, math.inf * grad.sign(), grad), None


def test_a_gradient_that_is_not_finite_is_traced_to_its_sequence(shallow: ModelConfig, dataset: Dataset):
    engine = broken(shallow, dataset, micro_batch_tokens=CONTEXT)
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    inputs, _ = batches.at(3 * 2 * CONTEXT, 2 * CONTEXT, CONTEXT)
    embed = engine.model.embed
    engine.model.embed = lambda tokens: (  # type: ignore[method-assign]
        Inverse.apply(embed(tokens)[0], (tokens == inputs[1]).all(dim=1).view(-1, 1, 1)),
    )
    with pytest.raises(TrainingError) as raised:
        engine.run(STEPS * 2 * CONTEXT, lambda *_: None)
    said = str(raised.value)
    start = batches.start(7 * CONTEXT)
    for words in (
        "step 4 (96 tokens, full depth)",
        "sequence 2 of 2 (micro-batch 2 of 2",
        f"{start:,} on",
        "gradient",
    ):
        assert words in said, said
    assert "loss nan" not in said and engine.progress.step == 3
    assert all(weight.isfinite().all() for weight in engine.state().weights.values())


def test_a_run_that_a_spike_stopped_keeps_every_step_and_goes_on_with_warn(
    make_study: Callable[..., Study], noisy_data: Dataset, shallow: ModelConfig, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    base = make_study(
        model=shallow, arms=(Arm(name="full", recipe="full"),), tokens=STEPS * 32, anchors=(1.0,),
        lr=Constant(peak=3e-2),
    )  # fmt: skip
    outcomes = {}
    for how in (("warn",), ("stop", "stop", "warn")):
        store = Store(tmp_path / how[0])
        for on_spike in how:
            study = replace(base, settings=TrainSettings(on_spike=on_spike))
            store.open(study.described(), {})
            tree = compile_study(study, "noisy")
            [node] = tree.nodes.values()
            job = Job(
                node=node, folder=store.folder, model=shallow, settings=study.settings,
                evaluation=study.evaluation, dataset=noisy_data, window=CONTEXT,
            )  # fmt: skip
            if on_spike == "stop":
                with pytest.raises(TrainingError, match="spike"):
                    train_segment(job, lambda: False)
                assert store.segment(node.key).state().progress.step == NOISE_FROM
                assert capsys.readouterr().err == ""
            else:
                assert train_segment(job, lambda: False)
                told = capsys.readouterr().err.splitlines()
                assert len(told) == 1 and f"step {NOISE_FROM + 1} " in told[0] and told[0].startswith("warning: ")
        folder = store.segment(node.key)
        outcomes[how] = folder.state(), [line | {"seconds": 0} for line in folder.lines("metrics")]
    (one, lines), (other, other_lines) = outcomes.values()
    assert same(one, other) and lines == other_lines and spikes(lines) == [NOISE_FROM + 1]


def test_only_skip_changes_numbers_and_so_keys(make_study: Callable[..., Study]):
    studies = {on: replace(make_study(), settings=TrainSettings(on_spike=on)) for on in ("warn", "stop", "skip")}
    keys = {on: set(compile_study(study, "data").nodes) for on, study in studies.items()}
    assert keys["warn"] == keys["stop"] == set(compile_study(make_study(), "data").nodes)
    assert not keys["warn"] & keys["skip"]
    assert studies["warn"].described() == studies["stop"].described() != studies["skip"].described()

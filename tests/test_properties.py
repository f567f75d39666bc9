"""What holds for any run: any model, recipe, growth, trainable set, shared layers, ramp, rate and optimizer.

The ledger's price is what PyTorch's operator counter counts; an interruption at any step changes no bit; a
schedule that is written in another way has the same keys.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.growth.spec import Growth
from deepen.schedule.plateau import Plateau
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable
from deepen.study.compile.keys import piece_key, segment_key
from deepen.study.compile.pieces import split_schedule
from deepen.train.begin import begin_segment
from deepen.train.checkpoint.state_files import open_files, write_files
from deepen.train.engine import Engine
from deepen.train.state import TrainState, initial_state
from schedules import BATCH_TOKENS, CONTEXT, VOCAB, Run, make_ledger, runs
from short_runs import CPU, discard, is_same

TOKENS = Tokens([np.random.RandomState(0).randint(0, VOCAB, 4096).astype(np.uint16)])
BATCHES = Batches(TOKENS, CONTEXT, seed=0)

many = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def train(run: Run, stops: Sequence[int] = ()) -> TrainState:
    """Train a run; at each stop, in tokens, the state is written to disk, and everything rebuilt from it."""
    state = initial_state(run.model, run.schedule.depth_at_start, seed=0)
    for segment in run.segments:
        inside = [stop for stop in stops if segment.start < stop < segment.end]
        for until in (*inside, segment.end):
            begun = begin_segment(state, segment, run.model)
            engine = Engine(begun, segment, run.model, BATCHES, run.settings, CPU)
            engine.run(until, discard)
            state = save_and_load(engine.state()) if until in inside else engine.state()
    return state


def save_and_load(state: TrainState) -> TrainState:
    with tempfile.TemporaryDirectory() as folder:
        write_files(state, Path(folder), {})
        return open_files(Path(folder)).load()


def operator_counter() -> FlopCounterMode:
    """PyTorch's counter, which by itself does not count the in-place product in `mean_loss`."""

    def count(shape: Sequence[int], left: Sequence[int], right: Sequence[int], **options: object) -> int:
        return 2 * left[0] * left[1] * right[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: count})


@pytest.mark.slow
@settings(many, max_examples=40)
@given(runs())
def test_every_step_costs_what_the_operator_counter_counts(run: Run):
    state = initial_state(run.model, run.schedule.depth_at_start, seed=0)
    for segment in run.segments:
        state = replace(state, progress=replace(state.progress, tokens=segment.start))
        state = begin_segment(state, segment, run.model)
        engine = Engine(state, segment, run.model, BATCHES, run.settings, CPU)
        with sdpa_kernel(SDPBackend.MATH), operator_counter() as counter:
            engine.run(segment.start + segment.batch_tokens, discard)
        assert counter.get_total_flops() == segment.flops_per_step, segment
        state = engine.state()


@pytest.mark.slow
@settings(many, max_examples=40)
@given(runs(), st.data())
def test_an_interruption_at_any_step_changes_no_bit(run: Run, data: st.DataObject):
    steps = [range(segment.start, segment.end, segment.batch_tokens) for segment in run.segments]
    positions = [position for each in steps for position in each]
    stops = sorted(data.draw(st.sets(st.sampled_from(positions), max_size=3), label="stops"))
    whole = train(run)
    assert is_same(whole, train(run, stops))
    assert whole.progress.flops == sum(segment.flops for segment in run.segments)
    assert whole.progress.tokens == run.schedule.tokens


def keys(run: Run, schedule: Schedule) -> list[str]:
    """The key of each piece with its end."""
    found: list[str] = []
    for piece in split_schedule(schedule, make_ledger(run.model, run.settings)):
        found.append(segment_key(piece_key(found[-1] if found else "", piece), piece.end))
    return found


@settings(many, max_examples=200)
@given(runs(), st.data())
def test_a_schedule_that_is_written_in_another_way_has_the_same_keys(run: Run, data: st.DataObject):
    schedule = run.schedule
    for rewrite in REWRITES:
        if data.draw(st.booleans(), label=rewrite.__name__):
            schedule = rewrite(schedule, data)
    again = schedule.in_steps(BATCH_TOKENS, CONTEXT)
    assert keys(run, again) == keys(run, run.schedule)


def name_trained_parts(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Name all trained blocks by index."""
    explicit = [
        Trainable.explicit(parts.blocks, head=parts.head, embeddings=parts.embeddings, norms=parts.norms)
        for parts in schedule.trained_parts
    ]
    phases = zip(schedule.phases, explicit, strict=True)
    return replace(schedule, phases=tuple(replace(phase, train=train) for phase, train in phases))


def name_growths(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Give each phase a growth of its own, as a layout if one can express it."""
    phases = list(schedule.phases)
    depth = schedule.depth_at_start
    for place, phase in enumerate(phases):
        if phase.blocks > depth:
            growth = schedule.growth_at(place)
            phases[place] = replace(phase, growth=as_layout(growth, schedule, place, depth))
        depth = phase.blocks
    return replace(schedule, phases=tuple(phases), growth=Growth())


def as_layout(growth: Growth, schedule: Schedule, place: int, old: int) -> Growth:
    """The same growth as a layout; itself if its new blocks are fresh, mixed, or below what they copy."""
    step = schedule.growth_steps[place]
    assert step is not None
    if all(block.source is None for block in step.blocks if block.is_new) and growth.moments == "keep":
        return replace(growth, moments="copy")  # there are none to copy
    layout = tuple(block.source for block in step.blocks)
    if None in layout:
        return growth
    scales = {block.residual_scale for block in step.blocks if block.is_new}
    [scale] = scales
    written = replace(
        growth,
        operator="copy-zero" if scale == 0 else "random",
        placement="",
        layout=layout,
        residual_scale=1.0 if scale == 0 else scale,
    )
    return written if written.resolve(old, step.depth) == step else growth


def name_layers(schedule: Schedule, data: st.DataObject) -> Schedule:
    """List the layers of phases whose layers share no blocks, except where `untie` would read them."""
    return replace(
        schedule,
        phases=tuple(
            phase if phase.layers or not phase.blocks else replace(phase, layers=tuple(range(phase.depth)))
            for phase in schedule.phases
        ),
    )


def split_phases(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Split one phase in two."""
    place = data.draw(st.integers(0, len(schedule.phases) - 1), label="split phase")
    phase = schedule.phases[place]
    first = data.draw(st.integers(0, phase.steps), label="steps before") * phase.batch_tokens
    rest = replace(phase, tokens=phase.tokens - first, reset_moments=False, growth=None)
    parts = (replace(phase, tokens=first), rest) if 0 < first < phase.tokens else (phase,)
    return replace(schedule, phases=(*schedule.phases[:place], *parts, *schedule.phases[place + 1 :]))


def add_plateaus(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Let a plateau decide where one phase ends, and decide it."""
    if len(schedule.phases) == 1:
        return schedule
    place = data.draw(st.integers(0, len(schedule.phases) - 2), label="phase with a plateau")
    phases, plateau = list(schedule.phases), Plateau(slope=0.1, check_tokens=1)
    later = data.draw(st.integers(0, phases[place + 1].tokens), label="tokens until the latest end")
    for n, (each, tokens) in enumerate(zip(phases[place : place + 2], (later, -later), strict=True), place):
        phases[n] = replace(each, tokens=each.tokens + tokens, until=plateau if n == place else None)
    end = sum(phase.tokens for phase in schedule.phases[: place + 1])
    return replace(schedule, phases=tuple(phases)).decided([end])


def add_empty_phases(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Add a phase without tokens after one phase."""
    place = data.draw(st.integers(1, len(schedule.phases)), label="empty phase")
    before = schedule.phases[place - 1]
    empty = replace(before, tokens=0, growth=None, reset_moments=False)
    return replace(schedule, phases=(*schedule.phases[:place], empty, *schedule.phases[place:]))


def rename(schedule: Schedule, data: st.DataObject) -> Schedule:
    """Give each phase another label."""
    return replace(schedule, phases=tuple(replace(phase, label=f"{n}") for n, phase in enumerate(schedule.phases)))


REWRITES = (name_trained_parts, name_growths, name_layers, split_phases, add_plateaus, add_empty_phases, rename)
"""What changes how a schedule is written, and not the training."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Plateau, Trigger, decide
from deepen.schedule.schedule import Schedule

PLATEAU = Plateau(slope=0.2, check_tokens=1000, earliest=4000)
CHECKS = PLATEAU.checks(begin=0, latest=20_000, batch_tokens=100)


def run(loss, *, end=20_000, begin=0):
    """The losses of steps of 100 tokens."""
    return [{"tokens": at, "loss": loss(at)} for at in range(begin + 100, end + 1, 100)]


def falls(nats):
    """A loss that falls by so many nats per e-fold of tokens."""
    return lambda tokens: 10 - nats * math.log(tokens)


def bends(at):
    """A loss that falls by 1 nat per e-fold up to a number of tokens, and not at all afterwards."""
    return lambda tokens: 10 - math.log(min(tokens, at))


def test_a_loss_that_falls_fast_enough_never_ends_its_phase():
    assert decide(PLATEAU, CHECKS, begin=0, lines=run(falls(0.21))) is None


def test_a_loss_that_falls_too_slowly_ends_its_phase_when_patience_is_over():
    assert decide(PLATEAU, CHECKS, begin=0, lines=run(falls(0.19))) == 5000
    patient = replace(PLATEAU, patience=4)
    assert decide(patient, CHECKS, begin=0, lines=run(falls(0.19))) == 7000


def test_a_plateau_is_found_after_it_begins_and_soon():
    found = decide(PLATEAU, CHECKS, begin=0, lines=run(bends(8000)))
    assert found is not None and 8000 < found <= 8000 / (1 - PLATEAU.window) + 2 * PLATEAU.check_tokens


def test_a_decision_needs_no_later_losses_and_does_not_change_with_them():
    lines = run(bends(8000))
    found = decide(PLATEAU, CHECKS, begin=0, lines=lines)
    for last in range(100, 20_001, 100):
        seen = [line for line in lines if line["tokens"] <= last]
        checks = [at for at in CHECKS if at <= last]
        assert decide(PLATEAU, checks, begin=0, lines=seen) == (found if last >= found else None)


@given(st.floats(-0.05, 0.05), st.integers(1, 7))
def test_noise_of_single_steps_is_averaged_out(height, period):
    noisy = [
        line | {"loss": line["loss"] + height * (-1) ** (line["tokens"] // 100 // period)}
        for line in run(falls(1.0))
    ]
    assert decide(PLATEAU, CHECKS, begin=0, lines=noisy) is None


def test_steps_that_were_not_taken_do_not_count():
    lines = run(falls(0.21))
    for line in lines[::10]:
        line["loss"] = math.nan
    assert decide(PLATEAU, CHECKS, begin=0, lines=lines) is None


def test_losses_before_the_phase_do_not_count():
    """The jump of the loss at growth is not taken for a slope."""
    begin = 8000
    checks = PLATEAU.checks(begin=begin, latest=20_000, batch_tokens=100)
    lines = run(lambda tokens: 9.0, end=begin) + run(falls(0.21), begin=begin)
    assert decide(PLATEAU, checks, begin=begin, lines=lines) is None
    counted = [at for at in checks if at * (1 - PLATEAU.window) >= begin]
    slow = run(falls(1), end=begin) + run(falls(0.1), begin=begin)
    assert decide(PLATEAU, checks, begin=begin, lines=slow) == counted[1]


def test_checks_lie_between_two_steps_of_the_phase():
    checks = Plateau(slope=1, check_tokens=950, earliest=3_901).checks(begin=50, latest=9_050, batch_tokens=100)
    assert checks == (4050, 5050, 6050, 7050, 8050)


@pytest.mark.parametrize(
    ("change", "latest"),
    [({"earliest": 20_000}, 20_000), ({"patience": 17}, 20_000), ({"check_tokens": 17_000}, 20_000), ({}, 4900)],
)
def test_a_plateau_that_can_never_end_its_phase_is_refused(change, latest):
    with pytest.raises(InvalidValueError, match="can never end phase 'shallow' early"):
        Trigger.place(replace(PLATEAU, **change), "shallow", begin=0, latest=latest, batch_tokens=100)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slope", 0),
        ("slope", math.nan),
        ("check_tokens", 0),
        ("earliest", -1),
        ("window", 1.0),
        ("patience", 0),
        ("patience", 1.5),
    ],
)
def test_values_that_cannot_be_used_are_refused_by_name(field, value):
    with pytest.raises(InvalidValueError) as caught:
        replace(PLATEAU, **{field: value})
    assert caught.value.field == field


def growing(*tokens, until=(PLATEAU, PLATEAU)):
    phases = [
        Phase(depth=depth, tokens=each, label=f"depth {depth}", until=plateau)
        for depth, each, plateau in zip((1, 2, 4), tokens, (*until, None), strict=True)
    ]
    return Schedule(phases=tuple(phases))


def ends(schedule):
    total, found = 0, []
    for phase in schedule.phases:
        total += phase.tokens
        found.append(total)
    return found


def test_a_decided_phase_ends_there_and_the_rest_goes_to_the_phase_after():
    schedule = growing(20_000, 30_000, 50_000)
    assert ends(schedule.decided([7000])) == [7000, 50_000, 100_000]
    assert ends(schedule.decided([7000, 21_000])) == [7000, 21_000, 100_000]
    assert [phase.until for phase in schedule.decided([7000]).phases] == [None, PLATEAU, None]
    assert schedule.decided([]) == schedule


@given(st.lists(st.integers(1, 120_000), min_size=2, max_size=2).map(sorted))
def test_decisions_keep_the_total(positions):
    decided = growing(20_000, 30_000, 50_000).decided(positions)
    assert decided.tokens == 100_000
    assert ends(decided)[:2] == [min(at, 100_000) for at in positions]


def test_a_decision_at_the_latest_end_changes_nothing_but_the_trigger():
    schedule = growing(20_000, 30_000, 50_000).in_steps(100, 100)
    first = schedule.trigger
    assert (first.begin, first.latest, first.checks) == (0, 20_000, CHECKS)
    second = schedule.decided([first.latest]).trigger
    assert (second.begin, second.latest) == (20_000, 50_000)
    assert ends(schedule.decided([20_000, 50_000])) == ends(schedule)
    assert schedule.decided([20_000, 50_000]).trigger is None


def test_the_last_phase_cannot_end_early():
    with pytest.raises(InvalidValueError, match="no phase follows"):
        Schedule(phases=(Phase(depth=1, tokens=100, label="only", until=PLATEAU),))

"""Loss against learning rate: one scale for all panels, and what is flagged."""

from itertools import pairwise
from typing import Any

import pytest

from deepen.report.figures.tuning import PANEL_HEIGHT, PANEL_WIDTH, TuningPanels, draw_tuning
from deepen.report.summary.study_summary import summarize
from deepen.study.results.schema import Results


def make_tuned(name: str, losses: dict[float, float | None], chosen: float | None, **more: Any) -> dict[str, Any]:
    trials = [{"peak": peak, "options": {}, "loss": loss} for peak, loss in losses.items()]
    return {"name": name, "trials": trials, "chosen_peak": chosen, "chosen_options": {}, **more}


def draw(*arms: dict[str, Any]) -> TuningPanels:
    return draw_tuning(summarize(Results.from_json({"arms": [], "tuning": {"arms": list(arms)}})))


def test_equal_losses_have_equal_heights_in_all_panels():
    drawn = draw(
        make_tuned("a", {0.004: 4.3, 0.008: 4.1, 0.016: 4.2}, 0.008),
        make_tuned("b", {0.004: 4.1, 0.008: 4.2, 0.016: 4.3}, 0.004, at_edge=True),
    )
    first, second = drawn.panels
    assert [trial.y for trial in first.trials[:2]] == [second.trials[2].y, second.trials[0].y]
    assert [trial.x for trial in first.trials] == [trial.x for trial in second.trials]
    assert [trial.is_chosen for trial in first.trials] == [False, True, False]
    assert first.warning == "" and "at the edge" in second.warning
    assert len(drawn.levels) >= 2


def test_a_diverged_trial_does_not_flatten_the_others():
    losses: dict[float, float | None] = {0.001 * (n + 1): 4.0 + 0.01 * n for n in range(19)}
    [panel] = draw(make_tuned("a", losses | {0.1: 40.0}, 0.001)).panels
    *others, diverged = panel.trials
    assert diverged.is_above and not others[0].is_above
    assert others[0].y - others[9].y > PANEL_HEIGHT / 5


def test_trials_with_other_options_have_lines_of_their_own():
    trials = [
        {"peak": peak, "options": {"grow_at": share}, "loss": 4 + share}
        for share in (0.3, 0.5)
        for peak in (1e-3, 2e-3)
    ]
    arm = {"name": "a", "trials": trials, "chosen_peak": 1e-3, "chosen_options": {"grow_at": 0.3}}
    [panel] = draw(arm).panels
    assert [(line.title, line.has_chosen) for line in panel.lines] == [
        ("grow_at 0.3", True),
        ("grow_at 0.5", False),
    ]
    assert panel.choice == "chosen: 0.001, grow_at 0.3, of 4 trials"


def test_an_open_choice_is_not_drawn_as_one():
    [panel] = draw(make_tuned("a", {0.004: 4.3, 0.008: None}, None)).panels
    assert panel.choice == "open, 1 trial so far" and not any(trial.is_chosen for trial in panel.trials)
    assert draw(make_tuned("a", {0.004: None}, None)).panels == ()


@pytest.mark.parametrize("rates", [(0.01,), (0.01, 0.0101, 0.0102), (1e-6, 1.0)])
def test_everything_is_inside_the_panel(rates: tuple[float, ...]):
    [panel] = draw(make_tuned("a", dict.fromkeys(rates, 4.0), rates[0])).panels
    assert all(0 < trial.x < PANEL_WIDTH and 0 < trial.y < PANEL_HEIGHT for trial in panel.trials)
    places = [place for place, _ in panel.rates]
    assert all(after - before > 40 for before, after in pairwise(places))


def test_a_rate_that_no_logarithm_has_is_left_out_and_one_loss_of_any_size_is_drawn():
    odd = make_tuned("a", {-0.01: 4.0, 0.0: 4.1, 0.02: 10**30}, -0.01)
    [panel] = draw(odd, make_tuned("b", {-1: 4.0}, None)).panels
    assert [trial.x for trial in panel.trials] == [112]
    assert 0 < panel.trials[0].y < PANEL_HEIGHT

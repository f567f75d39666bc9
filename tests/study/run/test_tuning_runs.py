"""Studies with trials, trained: what is chosen, what is kept, and what an interruption changes."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import deepen
from deepen.cli.entry import main
from deepen.schedule.rate import WSD
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning
from deepen.study.results.schema import Results
from deepen.study.run.decisions import Decisions
from deepen.study.run.errors import Interrupted
from deepen.study.run.progress import StudyProgress
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store

pytestmark = pytest.mark.slow

ARMS = (Arm(name="full", recipe="full"), Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6}))
TUNING = Tuning(rates=(2e-3, 8e-3), trials=3)


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    rate = WSD(peak=8e-3, warmup_tokens=32)
    return make_study(arms=ARMS, tuning=TUNING, depths=(3,), tokens=12 * 32, rate=rate)


def run(study: Study, folder: Path, **options: object) -> Results:
    return deepen.run(study, folder, executor="local:1", threads=1, report=False, **options)  # type: ignore[arg-type]


def without_times(results: Results) -> object:
    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {
                key: clean(each) for key, each in value.items() if "seconds" not in key and "memory" not in key
            }
        return [clean(each) for each in value] if isinstance(value, list) else value

    content = clean(results.to_json())
    assert isinstance(content, dict)
    return {key: content[key] for key in ("arms", "tuning", "best_fixed_depth", "sharing")}


def test_a_study_is_tuned_then_trained_and_its_results_record_both(study: Study, tmp_path: Path):
    reported: list[StudyProgress] = []
    results = run(study, tmp_path / "study", on_progress=lambda p: reported.append(p))
    assert results.tuning is not None and results.tuning.seeds == (1000,)
    assert results.tuning.trials_per_arm == 3
    assert [arm.name for arm in results.tuning.arms] == ["full", "one-shot", "depth 3"]
    for arm in results.tuning.arms:
        assert len(arm.trials) == 3 and arm.chosen is not None
        assert arm.chosen.loss == min(trial.loss for trial in arm.trials if trial.loss is not None)
        assert sum(trial.refined for trial in arm.trials) == 1
        assert {each.peak_lr for each in results.arms if each.name == arm.name} <= {arm.chosen_peak}
        assert {each.rate_at_edge for each in results.arms if each.name == arm.name} <= {arm.at_edge}
    best = min((arm for arm in results.tuning.arms if arm.is_fixed_depth), key=lambda arm: arm.chosen.loss)
    assert results.best_fixed_depth == best.name
    marks = {arm.name: {mark.budget_share for mark in arm.marks} for arm in results.arms}
    assert marks[best.name] == {0.7, 1.0, 1.4}
    assert results.tuning.tokens <= results.tuning.tokens_if_separate
    last = [each for each in reported if isinstance(each, StudyProgress)][-1]
    assert last.share == 1 and last.runs_done == last.runs_total
    check_what_is_kept(study, tmp_path / "study", results)


def check_what_is_kept(study: Study, folder: Path, results: Results) -> None:
    """The states of trials are removed, and running again trains nothing."""
    recorded = json.loads((folder / "study.json").read_text())
    assert {each["seed"] for each in recorded["trials"]} == {1000}
    for each in recorded["trials"]:
        assert not any((folder / "segments" / key / "state").exists() for key in each["keys"])
        assert (folder / "segments" / each["keys"][-1] / "done.json").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("segments/*/*")}
    assert without_times(run(study, folder)) == without_times(results)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("segments/*/*")} == before
    assert main(["store", "check", str(folder)]) == 0


def test_an_interruption_while_rates_are_chosen_changes_nothing(study: Study, tmp_path: Path):
    study = replace(study, depths=(), anchors=(1.0,))

    class Stop:
        """Interrupts at the first report of a new trial or run."""

        def __init__(self) -> None:
            self.done = -1

        def __call__(self, progress: object) -> None:
            if isinstance(progress, StudyProgress) and progress.runs_done >= self.done + 3:
                self.done = progress.runs_done
                os.kill(os.getpid(), signal.SIGINT)

    stop, interruptions = Stop(), 0
    while True:
        try:
            results = run(study, tmp_path / "cut", on_progress=stop)
            break
        except Interrupted as interrupted:
            interruptions += 1
            assert interrupted.results is not None and interrupted.results.tuning is not None
            for arm in interrupted.results.arms:
                tuned = next((each for each in interrupted.results.tuning.arms if each.name == arm.name), None)
                assert tuned is not None and (tuned.chosen_peak is not None or not arm.marks)
            assert interruptions < 20
    assert interruptions >= 1
    assert without_times(results) == without_times(run(study, tmp_path / "whole"))


def test_a_trial_with_another_loss_after_damage_changes_no_choice(study: Study, tmp_path: Path):
    """On a GPU, a segment that is trained again can have other losses."""
    one = replace(study, arms=ARMS[:1], depths=(), anchors=(1.0,))
    results = run(one, tmp_path)
    assert results.tuning is not None
    [arm] = results.tuning.arms
    recorded = json.loads((tmp_path / "study.json").read_text())["trials"]
    chosen = next(each["keys"][-1] for each in recorded if each["peak"] == arm.chosen_peak)
    log = tmp_path / "segments" / chosen / "evals.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line | {"value": line["value"] + 1}) + "\n" for line in lines))
    decisions = Decisions(Store(tmp_path))
    tree = compile_study(one, results.regime.data.fingerprint, decisions.find, decisions.find_loss)
    [compiled] = tree.tuning.arms
    assert compiled.chosen is not None and compiled.chosen.peak == arm.chosen_peak
    assert without_times(run(one, tmp_path)) == without_times(results)


def test_more_trials_can_be_added_and_fewer_are_refused(study: Study, tmp_path: Path):
    one = replace(study, arms=ARMS[:1], depths=(), anchors=(1.0,))
    folder = tmp_path / "study"
    run(replace(one, tuning=Tuning(rates=(2e-3, 8e-3))), folder)
    results = run(replace(one, tuning=Tuning(rates=(2e-3, 8e-3, 1.6e-2))), folder)
    assert results.tuning is not None and len(results.tuning.arms[0].trials) == 3
    for fewer in (None, Tuning(rates=(2e-3,)), Tuning(rates=(2e-3, 8e-3, 1.6e-2), seed=7)):
        with pytest.raises((StoreError, deepen.InvalidValuesError), match="other settings"):
            run(replace(one, tuning=fewer), folder)


def test_a_rate_at_which_training_diverges_is_given_up_and_the_study_goes_on(study: Study, tmp_path: Path):
    wild = replace(study, arms=ARMS[:1], depths=(), anchors=(1.0,), tuning=Tuning(rates=(8e-3, 1e25)))
    for _ in range(2):  # the second time, it is known
        results = run(wild, tmp_path / "study")
        assert results.tuning is not None
        [arm] = results.tuning.arms
        assert [trial.diverged for trial in arm.trials] == [False, True]
        assert arm.chosen_peak == 8e-3 and results.arms[0].marks
        [given_up] = {path.parent for path in (tmp_path / "study").glob("segments/*/diverged.json")}
        trials = json.loads((tmp_path / "study" / "study.json").read_text())["trials"]
        run_of_it = next(each["keys"] for each in trials if each["keys"][-1] == given_up.name)
        assert not any((given_up.parent / key / "state").exists() for key in run_of_it)
        assert results.trained_share == 1


def test_an_arm_whose_trials_all_diverge_ends_the_study_until_lower_rates_are_tried(study: Study, tmp_path: Path):
    wild = replace(study, arms=ARMS[:1], depths=(), anchors=(1.0,), tuning=Tuning(rates=(1e25, 1e26)))
    for _ in range(2):  # the second time, it is known
        with pytest.raises(
            deepen.RunError, match="all trials of arm full diverged, at peak rates 1e\\+25, 1e\\+26"
        ):
            run(wild, tmp_path / "study")
    results = run(replace(wild, tuning=Tuning(rates=(8e-3, 1e25, 1e26))), tmp_path / "study")
    assert results.tuning is not None and results.tuning.arms[0].chosen_peak == 8e-3

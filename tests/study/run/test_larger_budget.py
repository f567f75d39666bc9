"""A study that continues to a larger budget equals the study that was run with all its budgets at once."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compare import without_times
from deepen.data.shards import Dataset
from deepen.errors import InvalidValuesError
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD, Constant, Cosine
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from deepen.study.run.job import make_jobs
from deepen.study.run.worker import train_segment
from deepen.study.store.study_folder import Store

BATCH, STEPS = 32, 20
FULL = Arm(name="full", recipe="full")
ONE_SHOT = Arm(name="one-shot", recipe="one-shot", options={"start_depth": 1})
EVERY_STEP = Evaluation(every_tokens=BATCH, validation_tokens=64)
RAMPED = Arm(name="full", recipe="full", batch_ramp=Ramp(steps=((0.0, 16), (0.5, 32))))


@pytest.fixture
def asked(make_study: Callable[..., Study]) -> Callable[..., Study]:
    """Makes the study that a command line with so many steps asks for: warm-up and spacing follow the budget."""

    def make(steps: int, **changes: Any) -> Study:
        settings = {
            "model": replace(make_study().model, depth=2),
            "tokens": steps * BATCH,
            "arms": (FULL,),
            "anchors": (1.0,),
            "accountings": ("flops",),
            "rate": WSD(peak=8e-3, warmup_tokens=round(0.1 * steps * BATCH)),
            "evaluation": Evaluation(every_tokens=steps * BATCH // 4, validation_tokens=64),
        }
        return make_study(**(settings | changes))

    return make


def at_once(study: Study, first: Study) -> Study:
    """The longer study, with the first budget, its warm-up and its evaluations, for a folder of its own."""
    return replace(study, earlier_tokens=(first.tokens,), rate=first.rate, evaluation=first.evaluation)


def records(folder: Path) -> dict[str, Any]:
    """The segments of a study, their progress and weights."""
    manifests = folder.glob("segments/*/state/manifest.json")
    done = {path.parent.name: path.read_bytes() for path in folder.glob("segments/*/done.json")}
    return {"states": {path.parts[-3] for path in manifests}, "done": done}


@pytest.mark.parametrize("arms", [(FULL,), (FULL, ONE_SHOT), (RAMPED,)], ids=["full", "growing", "ramped"])
def test_a_longer_run_continues_where_the_decay_left_the_stable_part(
    arms: tuple[Arm, ...], asked: Callable[..., Study], run_study: Callable[..., Any], tmp_path: Path
):
    first, longer = asked(STEPS, arms=arms), asked(2 * STEPS, arms=arms)
    run_study(first, tmp_path / "run")
    before = records(tmp_path / "run")
    continued = run_study(longer, tmp_path / "run")
    again = records(tmp_path / "run")
    assert {key: again["done"][key] for key in before["done"]} == before["done"]  # nothing was trained twice
    whole = run_study(at_once(longer, first), tmp_path / "whole")
    assert without_times(continued) == without_times(whole)
    for arm in continued["arms"]:
        assert sorted(mark["budget_share"] for mark in arm["marks"]) == [0.5, 1.0]
    assert without_times(run_study(longer, tmp_path / "run")) == without_times(whole)  # the same command again
    assert records(tmp_path / "run")["done"] == again["done"]
    third = run_study(asked(3 * STEPS, arms=arms), tmp_path / "run")
    assert [mark["budget_share"] for mark in third["arms"][0]["marks"]] == pytest.approx([1, 2 / 3, 1 / 3])


def test_an_unfinished_run_continues_too(
    asked: Callable[..., Study], run_study: Callable[..., Any], dataset: Dataset, tmp_path: Path
):
    first, longer = asked(STEPS), asked(2 * STEPS)
    store = Store(tmp_path / "run")
    tree = compile_study(first, dataset.fingerprint)
    store.open(first, {}, {"data_fingerprint": dataset.fingerprint, "threads": 1})
    root, trunk, *_ = tree.nodes.values()
    jobs, steps = make_jobs(tree, dataset, store.folder), iter(range(5))
    assert train_segment(jobs[root.key], lambda: False)
    assert not train_segment(jobs[trunk.key], lambda: next(steps, None) is None)
    half = store.segment(trunk.key).tokens_saved
    assert trunk.segment.start < half < trunk.segment.end
    whole = run_study(at_once(longer, first), tmp_path / "whole")
    assert without_times(run_study(longer, tmp_path / "run")) == without_times(whole)


def test_states_that_were_pruned_are_trained_again_and_the_user_is_told(
    asked: Callable[..., Study], run_study: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first, longer = asked(STEPS), asked(2 * STEPS)
    run_study(first, tmp_path / "run", keep="last")
    with caplog.at_level(logging.INFO, logger="deepen"):
        continued = run_study(longer, tmp_path / "run")
    assert "512 tokens are trained again: the states after them were pruned" in caplog.text
    assert "continuing from a budget of 640 tokens to 1,280" in caplog.text
    assert without_times(continued) == without_times(run_study(at_once(longer, first), tmp_path / "whole"))


def test_the_default_keeps_what_a_larger_budget_needs_and_last_does_not(
    asked: Callable[..., Study], run_study: Callable[..., Any], dataset: Dataset, tmp_path: Path
):
    study = asked(STEPS, arms=(FULL, ONE_SHOT))
    for keep, folder in ((None, "default"), ("last", "last")):
        run_study(study, tmp_path / folder, **({} if keep is None else {"keep": keep}))
    tree = compile_study(study, dataset.fingerprint)
    full, one_shot = (route.keys for route in tree.routes)
    grown_at = next(index for index, key in enumerate(one_shot) if tree.nodes[key].segment.growth)
    assert records(tmp_path / "last")["states"] == {full[-1], one_shot[-1]}
    assert records(tmp_path / "default")["states"] == {full[-1], one_shot[-1], full[-2], one_shot[grown_at - 1]}


@pytest.mark.parametrize(
    ("rate", "changes", "problem"),
    [
        (None, {"tokens": 19 * BATCH}, "is 608, and .* holds the same study with 640: ask for 640 or more"),
        (Cosine(peak=8e-3), {"tokens": 40 * BATCH}, "of which a longer run has no part: its cosine rate ends"),
        (None, {"tokens": 40 * BATCH, "rate": WSD(peak=8e-3, warmup_tokens=500)}, "rate.warmup_tokens was 64"),
        (None, {"tokens": 40 * BATCH, "rate": Constant(peak=8e-3)}, "rate was WSD.* a larger budget continues"),
        (None, {"tokens": 40 * BATCH, "context": 8}, "context was 16"),
        (None, {"evaluation": EVERY_STEP}, "evaluation.every_tokens was 160"),
        (None, {"tokens": 40 * BATCH, "evaluation": EVERY_STEP}, "evaluation.every_tokens was 160"),
    ],
)
def test_what_cannot_be_continued_is_refused_in_one_line_and_nothing_is_lost(
    rate: Any,
    changes: dict[str, Any],
    problem: str,
    asked: Callable[..., Study],
    run_study: Callable[..., Any],
    tmp_path: Path,
):
    first = asked(STEPS) if rate is None else asked(STEPS, rate=rate)
    Store(tmp_path).open(first, {})
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(InvalidValuesError, match=problem) as refused:
        run_study(replace(first, **changes), tmp_path)
    assert len(refused.value.errors) == 1
    assert (tmp_path / "study.json").read_bytes() == before


def test_one_arm_whose_rate_ends_with_the_run_is_trained_again(
    asked: Callable[..., Study], run_study: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    arms = (FULL, Arm(name="cosine", recipe="full", rate=Cosine(peak=8e-3, warmup_tokens=64)))
    run_study(asked(STEPS, arms=arms), tmp_path)
    results = run_study(asked(2 * STEPS, arms=arms), tmp_path)
    assert "cosine is trained from its start again: its cosine rate ends with the run" in caplog.text
    assert [len(arm["marks"]) for arm in results["arms"]] == [2, 2]

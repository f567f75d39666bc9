"""Training a segment again: what a study recorded is reproduced, and what was forged is found."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen import durable
from deepen.errors import InvalidValueError
from deepen.schedule.rate import WSD
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Study
from deepen.study.define.tuning import Tuning
from deepen.study.store.study_folder import Store
from deepen.study.verify.agreement import Agreement
from deepen.study.verify.choice import choose, read_tree
from deepen.study.verify.verify import verify


@pytest.fixture(scope="session")
def folders() -> dict[str, Path]:
    return {}


@pytest.fixture
def folder(
    folders: dict[str, Path],
    make_study: Callable[..., Study],
    run_study: Callable[..., Any],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of a study of two arms that has run, as somebody may have sent it."""
    if not folders:
        whole = make_study()
        study = replace(
            whole, arms=tuple(arm for arm in whole.arms if arm.name in ("full", "one-shot")), anchors=(1.0,)
        )
        folders["study"] = tmp_path_factory.mktemp("verify") / "study"
        run_study(study, folders["study"])
    return Path(shutil.copytree(folders["study"], tmp_path / "study"))


def change(path: Path, **values: object) -> None:
    """Change values of a sealed JSON file, as a forger would, with a new seal."""
    content = durable.read_json(path)
    assert content is not None
    durable.write_json(path, content | values)


def find_keys(folder: Path, arm: str) -> tuple[str, ...]:
    return next(tuple(route["keys"]) for route in Store(folder).recorded("routes") if route["arm"] == arm)


@pytest.mark.parametrize("draw", range(4))
def test_any_segment_is_reproduced_bit_for_bit_and_nothing_is_written(folder: Path, draw: int) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = verify(Store(folder), draw=draw)
    assert {each.agreement for each in found.comparisons} == {Agreement.BIT_FOR_BIT}
    assert found.is_confirmed and found.results.marks and not found.differences
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_from_its_start_a_whole_run_is_trained(folder: Path) -> None:
    *before, last = find_keys(folder, "one-shot")
    found = verify(Store(folder), key=last, from_start=True)
    assert (found.agreement, found.trained_from, found.tokens) == (Agreement.BIT_FOR_BIT, "", found.end)
    assert len(before) >= 2  # it grows


def test_only_the_first_steps(folder: Path) -> None:
    found = verify(Store(folder), key=find_keys(folder, "full")[0], steps=3)
    assert (found.steps, found.tokens, found.agreement) == (3, 96, Agreement.BIT_FOR_BIT)


def rewrite_log(folder: Path, key: str, log: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the lines of a log, with the digests that belong to them."""
    segment = Store(folder).segment(key)
    path = segment.folder / f"{log}.jsonl"
    lines = segment.lines(log)
    for line in lines:
        edit(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = segment.done
    assert done is not None
    digest = {"bytes": path.stat().st_size, "sha256": durable.sha256(path, path.stat().st_size)}
    change(segment.folder / "done.json", logs=done["logs"] | {log: digest})


def test_a_forged_loss_is_found(folder: Path) -> None:
    key = find_keys(folder, "one-shot")[1]

    def lower(line: dict[str, Any]) -> None:
        line["loss"] -= 1e-3 if line["step"] > 5 else 0.0

    rewrite_log(folder, key, "metrics", lower)
    found = verify(Store(folder), key=key)
    assert not found.is_confirmed
    [loss] = [each for each in found.comparisons if each.agreement is Agreement.DIFFERS]
    assert (loss.what, loss.differs_at) == ("training loss", 6 * 32)


def test_a_result_that_the_logs_do_not_have_is_found(folder: Path) -> None:
    results = durable.read_json(folder / "results.json")
    assert results is not None
    for arm in results["arms"]:
        if arm["name"] == "one-shot":
            arm["marks"][0]["val_loss"] -= 0.5
    change(folder / "results.json", arms=results["arms"])
    found = verify(Store(folder), key=find_keys(folder, "full")[0], steps=1)
    assert not found.is_confirmed and found.agreement is Agreement.BIT_FOR_BIT
    [problem] = found.results.problems
    assert problem.startswith("results.json: one-shot, seed 0")


def test_another_arm_does_not_lead_to_these_segments(folder: Path) -> None:
    """Segments that were trained at another rate than study.json claims are none of the study's."""
    study = Store(folder).recorded("study")
    change(folder / "study.json", study=study | {"rate": study["rate"] | {"peak": 4e-3}})
    with pytest.raises(InvalidValueError, match="no finished segment"):
        verify(Store(folder))


def test_damaged_logs_are_refused(folder: Path) -> None:
    key = find_keys(folder, "full")[0]
    log = folder / "segments" / key / "metrics.jsonl"
    log.write_text(log.read_text().replace('"loss": 6', '"loss": 5', 1))
    with pytest.raises(InvalidValueError, match="is damaged"):
        verify(Store(folder), key=key)


def test_a_changed_description_of_the_segment_is_refused(folder: Path) -> None:
    key = find_keys(folder, "full")[1]
    spec = Store(folder).segment(key).spec or {}
    change(folder / "segments" / key / "spec.json", recipe=spec["recipe"] | {"batch_tokens": 96})
    with pytest.raises(InvalidValueError, match=r"spec.json does not describe.*\(batch_tokens\)"):
        verify(Store(folder), key=key)


def test_other_data_is_refused(folder: Path, noisy_data: Any) -> None:
    with pytest.raises(InvalidValueError, match="are not those that"):
        verify(Store(folder), data=str(noisy_data.folder))


@pytest.fixture
def elsewhere(folder: Path) -> Path:
    """The study as if it came from another machine: its steps are added in micro-batches, and named so."""
    study = Store(folder).recorded("study")
    settings = study["settings"] | {"micro_batch_tokens": 16}
    change(folder / "study.json", study=study | {"settings": settings}, machine="another machine")
    return folder


def test_elsewhere_losses_agree_within_rounding(elsewhere: Path) -> None:
    found = verify(Store(elsewhere), key=find_keys(elsewhere, "full")[-1])
    assert "validation loss at the mark" in {each.what for each in found.comparisons}
    assert found.differences and found.agreement is Agreement.WITHIN_ROUNDING
    assert found.is_confirmed and found.telling_steps > 1
    assert all(each.largest <= each.allowed for each in found.comparisons)


def test_elsewhere_a_forged_loss_is_found(elsewhere: Path) -> None:
    key = find_keys(elsewhere, "full")[1]

    def lower(line: dict[str, Any]) -> None:
        line["loss"] -= 2e-3

    rewrite_log(elsewhere, key, "metrics", lower)
    found = verify(Store(elsewhere), key=key)
    assert found.agreement is Agreement.DIFFERS


def test_draws_are_repeatable_and_reach_every_segment_in_proportion_to_its_length(folder: Path) -> None:
    store = Store(folder)
    tree = read_tree(store)
    drawn = [choose(tree, store, draw=draw).node for draw in range(200)]
    assert drawn[:20] == [choose(tree, store, draw=draw).node for draw in range(20)]
    assert {node.key for node in drawn} == tree.nodes.keys()
    tokens = {key: node.segment.end - node.segment.start for key, node in tree.nodes.items()}
    longest = max(tokens, key=tokens.__getitem__)
    share = sum(node.key == longest for node in drawn) / len(drawn)
    assert share == pytest.approx(tokens[longest] / sum(tokens.values()), abs=0.1)
    own = {choose(tree, store, arm="one-shot", draw=draw).node.key for draw in range(200)}
    assert own == set(find_keys(folder, "one-shot"))


def test_a_path_begins_after_the_nearest_good_state(folder: Path) -> None:
    store = Store(folder)
    tree = read_tree(store)
    last = find_keys(folder, "one-shot")[-1]
    choice = choose(tree, store, key=last)
    assert choice.start is not None
    store.segment(choice.start).remove_state()
    longer = choose(tree, store, key=last)
    assert len(longer.path) > len(choice.path) and longer.path[-1] == choice.node
    assert longer.start is None or store.segment(longer.start).has_state


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"key": "zz"}, "'zz' is not a finished segment"),
        ({"arm": "on-shot"}, r"did you mean 'one-shot'"),
        ({"data": "/nowhere"}, "nowhere"),
    ],
)
def test_wrong_requests(folder: Path, wrong: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        verify(Store(folder), **wrong)  # type: ignore[arg-type]


def test_a_trial_is_reproduced_too(
    make_study: Callable[..., Study], run_study: Callable[..., Any], tmp_path: Path
) -> None:
    """The tree is compiled with what the trials have chosen."""
    whole = make_study()
    study = replace(
        whole,
        arms=whole.arms[:1],
        anchors=(1.0,),
        tokens=8 * 32,
        rate=WSD(peak=8e-3, warmup_tokens=32),
        evaluation=Evaluation(every_tokens=8 * 32, validation_tokens=64),
        tuning=Tuning(rates=(4e-3, 8e-3, 1.6e-2)),
    )
    run_study(study, tmp_path / "study")
    store = Store(tmp_path / "study")
    tree = read_tree(store)
    assert set(store.segment_keys()) == tree.nodes.keys()
    trial = choose(tree, store, key=next(iter(tree.trial_ends)))
    assert trial.arms == ("a trial of full",)
    assert verify(store, key=trial.node.key).is_confirmed

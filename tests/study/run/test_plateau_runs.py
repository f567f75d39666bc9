"""Studies in which growth waits for a plateau of the loss: trained, interrupted, continued, with several seeds."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from compare import without_times
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Plateau
from deepen.schedule.rate import Cosine
from deepen.schedule.schedule import Schedule
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.study import Arm, Study
from deepen.study.run.decisions import Decisions
from deepen.study.run.errors import Interrupted
from deepen.study.store.study_folder import Store
from leftovers import differences, read_files
from ranks import run_command

Run = Callable[..., dict[str, Any]]
MakeStudy = Callable[..., Study]
STEP = 32
NOW, BETWEEN, NEVER = 1000.0, 0.4, 1e-9
"""Slopes with which a phase ends at its first opportunity, somewhere, and at its latest end."""


def grow_on_plateau(model: ModelConfig, tokens: int, *, slope: float = NOW) -> Schedule:
    latest = round(tokens * 0.6)
    plateau = Plateau(slope=slope, check_tokens=4 * STEP, earliest=24 * STEP, window=0.75)
    return Schedule(
        phases=(
            Phase(depth=2, tokens=latest, label="shallow", until=plateau),
            Phase(depth=4, tokens=tokens - latest, label="deep"),
        ),
        growth=Growth(operator="stack"),
    )


def grow_twice(model: ModelConfig, tokens: int, *, slope: float = NOW) -> Schedule:
    plateau = Plateau(slope=slope, check_tokens=3 * STEP, earliest=7 * STEP, window=0.5, patience=1)
    phases = [
        Phase(depth=depth, tokens=round(tokens * share), label=f"depth {depth}", until=until)
        for depth, share, until in ((1, 0.3, plateau), (2, 0.4, plateau))
    ]
    rest = tokens - sum(phase.tokens for phase in phases)
    return Schedule(
        phases=(*phases, Phase(depth=4, tokens=rest, label="depth 4")), growth=Growth(operator="stack")
    )


def grow_after(model: ModelConfig, tokens: int, *, after: int) -> Schedule:
    """The growth of `grow_on_plateau` after a known number of tokens."""
    return Schedule(
        phases=(
            Phase(depth=2, tokens=after, label="shallow"),
            Phase(depth=4, tokens=tokens - after, label="deep"),
        ),
        growth=Growth(operator="stack"),
    )


@pytest.fixture
def study(make_study: MakeStudy) -> MakeStudy:
    def make(slope: float, recipe: Any = grow_on_plateau, **changes: Any) -> Study:
        arms = (
            Arm(name="full", recipe="small", options={"start_depth": 4}),
            Arm(name="plateau", recipe=recipe, options={"slope": slope}),
        )
        return make_study(**({"arms": arms, "anchors": (1.0,), "accountings": ("flops",)} | changes))

    return make


def growths(results: dict[str, Any], arm: str = "plateau") -> dict[int, list[int]]:
    """Where each seed of an arm has grown."""
    return {
        each["seed"]: [growth["tokens"] for growth in each["growths"]]
        for each in results["arms"]
        if each["name"] == arm
    }


def decided_tree(study: Study, dataset: Dataset, folder: Path) -> Tree:
    return compile_study(study, dataset.fingerprint, Decisions(Store(folder)).find)


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """A signal asks to stop after a number of steps."""
    taken = itertools.count(1)

    def count(*_: object) -> None:
        if next(taken) == steps:
            signal.raise_signal(signal.SIGINT)

    hook = register_optimizer_step_post_hook(count)
    try:
        with suppress(Interrupted):
            yield
    finally:
        hook.remove()


@pytest.mark.slow
def test_growth_comes_at_the_first_opportunity_or_at_the_latest_end(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    early, late = study(NOW), study(NEVER)
    [trigger] = {d.trigger for r in compile_study(early, dataset.fingerprint).routes for d in r.decisions}
    assert growths(run_study(early, tmp_path / "early")) == {0: [trigger.earliest]}
    assert growths(run_study(late, tmp_path / "late")) == {0: [trigger.latest]}


@pytest.mark.slow
def test_growth_on_a_plateau_is_the_same_training_as_growth_after_so_many_tokens(
    study: MakeStudy, run_study: Run, tmp_path: Path
):
    """Its mark costs the same FLOPs too: it is solved again with the decision."""
    results = run_study(study(NOW), tmp_path / "plateau")
    [grown_at] = growths(results)[0]
    known = study(NOW, accountings=("flops", "tokens"))
    arms = (known.arms[0], Arm(name="plateau", recipe=grow_after, options={"after": grown_at}))
    same = run_study(study(NOW, arms=arms), tmp_path / "known")
    [one], [other] = ([a for a in each["arms"] if a["name"] == "plateau"] for each in (results, same))
    assert one["segments"][-2:] == other["segments"][-2:]
    assert without_times(one["marks"]) == without_times(other["marks"])
    assert one["marks"][0]["annealed"]


@pytest.mark.slow
def test_each_seed_and_each_growth_is_decided_by_its_own_losses(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    alone = {"arms": study(BETWEEN).arms[1:], "baseline": "plateau"}
    grown = growths(run_study(study(BETWEEN, seeds=(0, 1), **alone), tmp_path / "both"))
    assert grown[0] != grown[1]
    assert growths(run_study(study(BETWEEN, seeds=(1,), **alone), tmp_path / "one")) == {1: grown[1]}
    twice = growths(run_study(study(NOW, grow_twice), tmp_path / "twice"))[0]
    tree = decided_tree(study(NOW, grow_twice), dataset, tmp_path / "twice")
    [route] = [route for route in tree.routes if route.arm.name == "plateau"]
    assert twice == [decision.trigger.earliest for decision in route.decisions]
    assert all(decision.is_plateau for decision in route.decisions)


def test_what_is_decided_is_recorded_and_never_decided_again(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    """As where a GPU trains a segment again and its losses are others."""
    results = run_study(study(NOW), tmp_path)
    [end] = growths(results)[0]
    recorded = [route for route in Store(tmp_path).recorded("routes") if route["arm"] == "plateau"]
    [[decision]] = [route["decisions"] for route in recorded]
    assert (decision["phase"], decision["tokens"], decision["ended"]) == ("shallow", end, "plateau")
    tree = decided_tree(study(NOW), dataset, tmp_path)
    for path in tmp_path.glob("segments/*/metrics.jsonl"):
        path.write_text("")
    assert decided_tree(study(NOW), dataset, tmp_path).routes == tree.routes
    [path] = tmp_path.glob("segments/*/decisions.json")
    path.unlink()
    with pytest.raises(RuntimeError, match="incomplete"):
        decided_tree(study(NOW), dataset, tmp_path)


def test_a_finished_study_trains_nothing_and_nothing_is_trained_beyond_a_decision(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    results = run_study(study(NOW), tmp_path, keep="last")
    tree = decided_tree(study(NOW), dataset, tmp_path)
    assert set(Store(tmp_path).segment_keys()) == set(tree.nodes) and not tree.checks
    before = read_files(tmp_path)
    assert run_study(study(NOW), tmp_path, keep="last") == results
    assert differences(tmp_path, before) == {}
    kept = {path.parent.name for path in tmp_path.glob("segments/*/state")}
    assert kept == tree.mark_keys


@pytest.mark.slow
def test_an_arm_that_stays_shallow_shares_the_trunk(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    arms = (*study(NOW).arms, Arm(name="shallow", recipe="small", options={"start_depth": 2}))
    shared = run_study(study(NOW, arms=arms), tmp_path)
    [grown_at] = growths(shared)[0]
    sharing = shared["sharing"]
    assert sharing["tokens_if_separate"] - sharing["tokens_trained"] == grown_at
    assert without_times([arm for arm in shared["arms"] if arm["name"] == "plateau"]) == without_times(
        [arm for arm in run_study(study(NOW), tmp_path / "alone")["arms"] if arm["name"] == "plateau"]
    )


@pytest.mark.slow
def test_every_mark_of_an_arm_has_a_decayed_branch_from_one_trunk(
    study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    """Each mark decides by its own latest end, as the run of its length alone would; all read the same losses."""
    measured = study(BETWEEN, anchors=(0.7, 1.0, 1.4), baseline="plateau")
    results = run_study(measured, tmp_path)
    [arm] = [arm for arm in results["arms"] if arm["name"] == "plateau"]
    assert [mark["budget_share"] for mark in arm["marks"]] == [0.7, 1.0, 1.4]
    assert all(mark["annealed"] for mark in arm["marks"])
    tree = decided_tree(measured, dataset, tmp_path)
    routes = [route for route in tree.routes if route.arm.name == "plateau"]
    assert routes[0].decisions[0].trigger.latest < routes[2].decisions[0].trigger.latest
    first_grown = [next(k for k in route.keys if tree.nodes[k].segment.growth) for route in routes]
    trunks = [route.keys[: route.keys.index(key)] for route, key in zip(routes, first_grown, strict=True)]
    longest = max(trunks, key=len)
    assert all(longest[: len(trunk)] == trunk for trunk in trunks)
    alone = study(BETWEEN, baseline="plateau")
    [same] = [route for route in decided_tree(alone, dataset, tmp_path).routes if route.arm.name == "plateau"]
    assert same.keys[-1] == routes[1].keys[-1]


@pytest.mark.slow
def test_two_workers_decide_like_one(study: MakeStudy, run_study: Run, tmp_path: Path):
    several = study(BETWEEN, seeds=(0, 1))
    one = run_study(several, tmp_path / "one")
    assert without_times(run_study(several, tmp_path / "two", executor=local(2))) == without_times(one)


@pytest.mark.slow
def test_workers_of_a_cluster_decide_like_those_here(study: MakeStudy, run_study: Run, tmp_path: Path):
    """The process that runs the study decides, from the logs that the workers wrote."""
    distributed = pytest.importorskip("distributed")
    alone = study(BETWEEN, arms=study(BETWEEN).arms[1:], baseline="plateau", tokens=32 * STEP)
    here = run_study(alone, tmp_path / "here")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = ExecutorChoice.parse(f"dask:{cluster.scheduler_address}")
        there = run_study(alone, tmp_path / "there", executor)
    assert without_times(there) == without_times(here)


@pytest.mark.slow
def test_under_torchrun_the_first_process_decides_once(dataset: Dataset, tmp_path: Path):
    train = ["train", "one-shot", "--context", "16", "--batch-tokens", "64", "--steps", "64", "--rate", "constant"]
    train += [
        "--grow-at",
        "0.7",
        "--grow-on",
        "plateau:slope=1000,earliest=0.6,patience=1",
        "--start-depth",
        "2",
        "--depth",
        "4",
    ]
    train += ["--data", str(dataset.folder), "--vocab", "512", "--out"]
    assert run_command(2, [*train, str(tmp_path / "two")], {}) == [0, 0]
    assert main([*train, str(tmp_path / "one")]) == 0
    [two, one] = (Store(tmp_path / name).recorded("routes") for name in ("two", "one"))
    assert [route["decisions"] for route in two] == [route["decisions"] for route in one]
    assert [decision["ended"] for route in one for decision in route["decisions"]] == ["plateau"]
    assert len(list((tmp_path / "two").glob("segments/*/decisions.json"))) == 1


@pytest.mark.slow
def test_a_run_stopped_anywhere_decides_and_ends_as_an_undisturbed_one(
    study: MakeStudy, run_study: Run, tmp_path: Path
):
    arms = study(NOW, grow_twice).arms[1:]
    twice = study(NOW, arms=arms, baseline="plateau", tokens=30 * STEP)
    run_study(twice, tmp_path / "undisturbed")
    undisturbed = read_files(tmp_path / "undisturbed")
    folder, rounds = tmp_path / "stopped", 0
    while not (folder / "results.json").exists() or differences(folder, undisturbed):
        rounds += 1
        assert rounds < 80, differences(folder, undisturbed)
        with stopped_after(1 + rounds % 3):
            run_study(twice, folder)
    assert rounds > 20


@pytest.mark.slow
@pytest.mark.parametrize("what", ["metrics", "spec"])
def test_damage_of_the_trunk_is_repaired_before_anything_is_decided(
    what: str, study: MakeStudy, run_study: Run, tmp_path: Path, dataset: Dataset
):
    alone = study(NOW, arms=study(NOW).arms[1:], baseline="plateau")
    run_study(alone, tmp_path / "undisturbed")
    undisturbed = read_files(tmp_path / "undisturbed")
    folder = tmp_path / "damaged"
    [route] = (tree := decided_tree(alone, dataset, tmp_path / "undisturbed")).routes
    trunk = [key for key in route.keys if tree.nodes[key].segment.end <= route.decisions[0].end]
    with stopped_after(route.decisions[0].end // STEP + 1):  # a step after growth
        run_study(alone, folder)
    segment = folder / "segments" / trunk[-1]
    [path] = segment.glob(f"{what}*")
    path.write_bytes(path.read_bytes()[:-20])
    run_study(alone, folder)
    assert differences(folder, undisturbed) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": Cosine(peak=1e-3)}, "arm plateau: phase 'shallow' may end on a plateau up to .* depends on"),
        ({"tokens": 12 * STEP}, "arm plateau: .* can never end phase 'shallow' early"),
    ],
)
def test_a_trigger_that_cannot_work_is_refused_before_anything_is_written(
    change: dict[str, Any], message: str, study: MakeStudy, run_study: Run, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        run_study(study(NOW, **change), tmp_path / "study")
    assert not (tmp_path / "study").exists()

"""The bench of a small model: prices are the ledger's, and the fitted timing is as good as its misfit."""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

import pytest
import torch

from deepen.bench.measurement import run_bench
from deepen.bench.result import BenchResult, Pace, Race
from deepen.bench.workload import Workload
from deepen.cli.output.bench_tables import print_bench
from deepen.compute.bench_file import IncompleteBenchError, read_timing
from deepen.compute.ledger import Ledger
from deepen.errors import RunError
from deepen.model.presets import PRESETS
from deepen.schedule.trainable import TRAINABLE_SETS
from deepen.train.engine import Engine
from deepen.train.progress import Progress
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState

STEPS = 2

pytestmark = pytest.mark.slow


class IdleEngine:
    """Records steps that it does not train, and holds itself in a reference cycle, as compiled engines do."""

    alive: ClassVar = WeakSet["IdleEngine"]()

    micro_batch_tokens = 64

    def __init__(self) -> None:
        self.cycle, self.progress = self, Progress()
        self.alive.add(self)

    def run(self, until: int, log: object) -> None:
        tokens = until - self.progress.tokens
        self.progress = self.progress.advance(tokens=tokens, flops=0, seconds=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class IdleWorkload(Workload):
    """A workload whose engines compute nothing; each is freed before the next one is built."""

    def engine(self, state: TrainState, segment: Segment) -> Engine:
        assert not IdleEngine.alive
        return IdleEngine()  # type: ignore[return-value]


def test_steps_faster_than_the_devices_peak_are_refused_in_one_line():
    device = torch.device("cpu")
    idle = IdleWorkload(
        model=PRESETS["nano"], context=64, batch_tokens=1 << 20, settings=TrainSettings(), device=device
    )
    with pytest.raises(RunError, match=r"^depth .* s a step, .* reach .* measure again with more steps") as error:
        run_bench(idle, 1)
    assert "\n" not in str(error.value)


FULL = "depth 2 · all"


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallMemory(Workload):
    """A workload on a device that lacks memory for the kinds whose label begins with `fails`, after some turns."""

    fails: str
    turns: int
    built: list[str] = field(default_factory=list)

    def engine(self, state: TrainState, segment: Segment) -> Engine:
        if segment.label.startswith(self.fails) and self.built.count(segment.label) >= self.turns:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 52.70 GiB.\nGPU 0 has ...")
        self.built.append(segment.label)
        return Workload.engine(self, state, segment)


def small_memory(fails: str, turns: int) -> SmallMemory:
    return SmallMemory(
        model=replace(PRESETS["nano"], depth=2),
        context=64,
        batch_tokens=64,
        settings=TrainSettings(),
        device=torch.device("cpu"),
        fails=fails,
        turns=turns,
    )


def test_a_kind_that_fails_costs_only_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    workload = small_memory(fails=FULL, turns=1)
    result = run_bench(workload, 2)
    reason = "out of GPU memory, of which smaller micro-batches need less"
    assert result.failures == {FULL: reason} and result.fit is None
    labels = [kind.phase.label for kind in workload.kinds()]
    assert [kind.phase.label for kind in result.kinds] == labels[1:]
    assert workload.built == labels + labels[1:]
    print_bench(result)
    assert "relative to depth 1 · all, which" in capsys.readouterr().out
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result.to_json()))
    assert json.loads(path.read_text())["failed"] == {FULL: reason}
    with pytest.raises(IncompleteBenchError, match="has no timing, because not every kind"):
        read_timing(path)


def test_where_no_kind_can_be_trained_the_first_error_is_raised():
    with pytest.raises(torch.OutOfMemoryError):
        run_bench(small_memory(fails="", turns=0), 1)


@pytest.fixture(scope="module")
def workload() -> Workload:
    device = torch.device("cpu")
    return Workload(model=PRESETS["nano"], context=64, batch_tokens=128, settings=TrainSettings(), device=device)


@pytest.fixture(scope="module")
def progress() -> list[tuple[int, int]]:
    """What `on_progress` was called with."""
    return []


@pytest.fixture(scope="module")
def result(workload: Workload, progress: list[tuple[int, int]]) -> BenchResult:
    return run_bench(workload, STEPS, on_progress=lambda done, total: progress.append((done, total)))


def test_the_timing_is_within_its_misfit_of_every_kind(result: BenchResult, workload: Workload):
    misses = [
        abs(result.fit.timing.seconds_per_token(kind.trained) / measured.seconds_per_token - 1)
        for kind, measured in zip(workload.kinds(), result.kinds, strict=True)
    ]
    assert max(misses) == pytest.approx(result.fit.misfit, rel=1e-6)


def test_kinds_have_the_ledgers_price_and_are_compared_with_full_depth(result: BenchResult, workload: Workload):
    full, ledger = result.kinds[0], Ledger(model=workload.model)
    assert (full.phase.depth, full.phase.train.name, full.measured_to_ledger) == (12, "all", 1)
    for kind, measured in zip(workload.kinds(), result.kinds, strict=True):
        assert measured.new_blocks == kind.trained.blocks
        assert measured.flops_per_token == ledger.flops_per_token(kind.trained, 64)
        assert measured.computed_flops_per_token == measured.flops_per_token  # a CPU pads nothing
        assert measured.tokens_per_second == pytest.approx(1 / measured.seconds_per_token)
        ratio = measured.seconds_per_token / full.seconds_per_token / measured.flops_per_token
        assert measured.measured_to_ledger == pytest.approx(ratio * full.flops_per_token)
        assert measured.mfu == measured.flops_per_token / measured.seconds_per_token / result.peak_flops
        assert measured.peak_memory_bytes > 0 or sys.platform != "linux"
    assert {kind.phase.train.name for kind in result.kinds} == set(TRAINABLE_SETS)
    assert {kind.phase.depth for kind in result.kinds} == {12, 6, 1}


def test_progress_is_in_flops_and_ends_with_all_of_them(
    result: BenchResult, workload: Workload, progress: list[tuple[int, int]]
):
    turns, warm_up = min(STEPS, 10), 1
    total = 128 * (STEPS + turns * warm_up) * sum(kind.flops_per_token for kind in result.kinds)
    assert progress[0] == (0, total) and progress[-1] == (total, total)
    assert len(progress) == 1 + turns * len(result.kinds)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_the_json_holds_the_timing_and_all_that_was_measured(result: BenchResult, tmp_path: Path):
    pace = Pace(name="deepen", tokens_per_second=2.0, fastest_tokens_per_second=3.0, ratio=1.0)
    race = Race(paces=(pace,), failures={"loop": "out of memory"})
    content = replace(result, race=race).to_json()
    assert result.race == Race()  # no other trainer was asked for
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(content))
    assert read_timing(path) == result.fit.timing
    assert json.loads(path.read_text()) == content
    assert content["against"] == [
        {"name": "deepen", "tokens_per_second": 2.0, "fastest_tokens_per_second": 3.0, "ratio": 1.0}
    ]
    assert content["against_failed"] == {"loop": "out of memory"}
    assert (content["spread"], content["misfit"], content["threads"]) == (result.jitter, result.fit.misfit, 1)
    assert (content["compile"], content["moment_precision"], content["torch"]) == ("no", "fp32", torch.__version__)
    assert [phase["scope"] for phase in content["phases"]] == [kind.phase.train.name for kind in result.kinds]
    assert list(content["phases"][0]) == [
        "label",
        "depth",
        "scope",
        "new_blocks",
        "tokens_per_second",
        "seconds_per_token",
        "flops_per_token",
        "computed_flops_per_token",
        "measured_to_ledger",
        "mfu",
        "peak_memory_bytes",
        "micro_batch_tokens",
    ]


def test_the_table_says_what_the_padding_of_the_head_costs(
    result: BenchResult, capsys: pytest.CaptureFixture[str]
):
    print_bench(result)
    assert "padded" not in capsys.readouterr().out
    full = replace(result.kinds[0], computed_flops_per_token=1.015 * result.kinds[0].flops_per_token)
    workload = replace(result.workload, model=replace(result.workload.model, vocab=500))
    print_bench(replace(result, workload=workload, kinds=(full, *result.kinds[1:])))
    words = " ".join(capsys.readouterr().out.split())
    assert "the head is padded from 500 to 512 tokens: 1.5 % more FLOPs are computed than are counted" in words


@pytest.mark.parametrize(("jitter", "busy"), [(1.0, False), (1.2, False), (1.21, True)])
def test_steps_that_vary_much_mean_a_busy_machine(result: BenchResult, jitter: float, busy: bool):
    assert replace(result, jitter=jitter).machine_was_busy is busy

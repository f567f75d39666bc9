"""The result of a bench and its JSON form, which a plan can read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from deepen.bench.workload import Workload
from deepen.compute.timing import Timing
from deepen.schedule.phase import Phase
from deepen.train.compiling import choose_mode

BUSY_JITTER = 1.2
"""Above this jitter something else was using the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindResult:
    """The measurements of one kind of phase.

    Attributes:
        phase: depth and trainable set.
        new_blocks: indices of the trained blocks.
        seconds_per_token: mean time of a step in the fastest turn ÷ its tokens.
        flops_per_token: the ledger's price of a step ÷ its tokens.
        computed_flops_per_token: the same with the padding of the head that the device computes, too.
        measured_to_ledger: seconds ÷ FLOPs, each relative to the first kind. Above 1 the device takes
            longer for this kind than its price suggests.
        mfu: model FLOPs utilization (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): the ledger's FLOPs per
            second ÷ the device's measured peak.
        peak_memory_bytes: peak while this kind was trained; 0 if the system does not report it.
        micro_batch_tokens: tokens that the device computed at once, in the last turn.
    """

    phase: Phase
    new_blocks: tuple[int, ...]
    seconds_per_token: float
    flops_per_token: float
    computed_flops_per_token: float
    measured_to_ledger: float
    mfu: float
    peak_memory_bytes: int
    micro_batch_tokens: int

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of the fastest turn."""
        return 1 / self.seconds_per_token

    def to_json(self) -> dict[str, Any]:
        """The measurements in JSON's types."""
        return {
            "label": self.phase.label,
            "depth": self.phase.depth,
            "scope": self.phase.train.name,
            "new_blocks": list(self.new_blocks),
            "tokens_per_second": self.tokens_per_second,
            "seconds_per_token": self.seconds_per_token,
            "flops_per_token": round(self.flops_per_token),
            "computed_flops_per_token": round(self.computed_flops_per_token),
            "measured_to_ledger": self.measured_to_ledger,
            "mfu": self.mfu,
            "peak_memory_bytes": self.peak_memory_bytes,
            "micro_batch_tokens": self.micro_batch_tokens,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a trainer takes steps of full training: the median and the fastest turn.

    `ratio` is deepen's tokens per second ÷ this trainer's.
    """

    name: str
    tokens_per_second: float
    fastest_tokens_per_second: float
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Full training by several trainers, in turns.

    Attributes:
        paces: those that were measured, deepen first; empty if deepen failed.
        failures: for each trainer that failed, the reason in one line.
    """

    paces: Sequence[Pace] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Ingredients of a step, and the largest error of their sums on any kind, as a share of the measured time."""

    timing: Timing
    misfit: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """The result of a bench on one device.

    Attributes:
        workload: the steps that were measured.
        device: the name of the device.
        kinds: the measurements of each kind; the first trains everything at full depth, unless that failed.
        failures: for each kind that was not measured, the reason in one line.
        fit: the ingredients fitted to the kinds, for plans in seconds; None unless all were measured.
        jitter: the median turn ÷ the fastest, for the kind where this is largest.
        peak_flops: FLOP/s of the device in products of large matrices, measured before the steps.
        threads, torch_version: CPU threads and version of torch.
        race: full training by deepen and by other trainers; empty if none were requested.
    """

    workload: Workload
    device: str
    kinds: Sequence[KindResult]
    failures: Mapping[str, str] = field(default_factory=dict)
    fit: Fit | None
    jitter: float
    peak_flops: float
    threads: int
    torch_version: str
    race: Race = field(default_factory=Race)

    @property
    def machine_was_busy(self) -> bool:
        """Whether something else used the machine, so that the bench should be repeated."""
        return self.jitter > BUSY_JITTER

    def to_json(self) -> dict[str, Any]:
        """The bench in JSON's types; `compute.bench_file.read_timing` reads the timing in it."""
        workload, settings = self.workload, self.workload.settings
        return {
            "device": self.device,
            "precision": settings.precision,
            "model": asdict(workload.model),
            "context": workload.context,
            "batch_tokens": workload.batch_tokens,
            "optimizer": settings.optimizer.kind,
            "timing": None if self.fit is None else self.fit.timing.ingredients_to_json(),
            "torch": self.torch_version,
            "threads": self.threads,
            "phases": [kind.to_json() for kind in self.kinds],
            "failed": dict(self.failures),
            "misfit": None if self.fit is None else self.fit.misfit,
            "spread": self.jitter,  # existing files use this key
            "compile": choose_mode(settings.compile, workload.device),
            "moment_precision": settings.optimizer.state_precision,
            "peak_flops": self.peak_flops,
            "against": [asdict(pace) for pace in self.race.paces],
            "against_failed": dict(self.race.failures),
        }

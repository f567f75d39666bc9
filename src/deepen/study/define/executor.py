"""Where a study's segments are trained, as asked for: `local`, `slurm` or `dask`. A value, read without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

EXECUTORS: Mapping[str, str] = {
    "local": "processes of this machine, a GPU each where there are some (local:4)",
    "slurm": "a SLURM job per segment (slurm:partition=gpu,time=60,gpus_per_node=1)",
    "dask": "the workers of a Dask scheduler (dask:tcp://HOST:8786)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorChoice:
    """An executor with its options.

    Attributes:
        kind: one of `EXECUTORS`.
        jobs: segments trained at once; None leaves it to the executor.
        address: of the Dask scheduler.
        threads: CPU threads of each segment; None leaves it to the executor.
        slurm: what each job asks of SLURM, by submitit's names.
    """

    kind: str = "local"
    jobs: int | None = None
    address: str = ""
    threads: int | None = None
    slurm: Mapping[str, str | int | float] = field(default_factory=dict)


def local(jobs: int) -> ExecutorChoice:
    """So many processes of this machine; 1 is this process itself."""
    return ExecutorChoice(jobs=jobs)

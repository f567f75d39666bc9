"""The kinds of executors by name."""

from collections.abc import Mapping

from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.executors import dask, local, slurm
from deepen.study.run.executors.interface import ExecutorKind

EXECUTOR_KINDS: Mapping[str, ExecutorKind] = {"local": local.KIND, "slurm": slurm.KIND, "dask": dask.KIND}


def get_kind(choice: ExecutorChoice) -> ExecutorKind:
    """The kind of executor of a choice."""
    return EXECUTOR_KINDS[choice.kind]

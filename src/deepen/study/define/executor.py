"""Where a study's segments are trained: on this machine, as SLURM jobs, or by the workers of a Dask scheduler."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deepen.errors import InvalidValueError, is_whole, nearest

EXECUTORS: Mapping[str, str] = {
    "local": "processes of this machine, one GPU each if it has GPUs (local:4)",
    "slurm": "one SLURM job per segment (slurm:partition=gpu,time=60,gpus_per_node=1)",
    "dask": "the workers of a Dask scheduler (dask:tcp://HOST:8786)",
}

OptionValue = str | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorChoice:
    """An executor with its options.

    Attributes:
        kind: one of `EXECUTORS`.
        jobs: number of segments trained in parallel; None leaves it to the executor.
        address: address of the Dask scheduler.
        threads: CPU threads per segment; None leaves it to the executor.
        slurm: the resources that each job requests from SLURM, by submitit's names.
    """

    kind: str = "local"
    jobs: int | None = None
    address: str = ""
    threads: int | None = None
    slurm: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in EXECUTORS:
            known = "; ".join(f"{name}: {what}" for name, what in EXECUTORS.items())
            raise InvalidValueError(
                f"{self.kind!r} is unknown{nearest(str(self.kind), EXECUTORS)}: use {known}",
                field="executor",
                value=self.kind,
                allowed=EXECUTORS,
            )
        for name in ("jobs", "threads"):
            value = getattr(self, name)
            if value is None:
                continue
            if not is_whole(value) or value < 1:
                raise InvalidValueError(
                    f"is {value!r}: it must be a whole number, at least 1", field=name, value=value
                )
            object.__setattr__(self, name, int(value))  # JSON has no whole numbers of numpy

    @staticmethod
    def parse(text: str) -> "ExecutorChoice":
        """Parse an executor and its options.

            local:4
            slurm:jobs=8,partition=gpu,time=60
            dask:tcp://node-1:8786,threads=4

        Raises:
            InvalidValueError: the executor or one of its options is unknown or has a wrong value.
        """
        kind, colon, rest = text.partition(":")
        choice = ExecutorChoice(kind=kind)
        if choice.kind == "slurm":
            return _parse_slurm(rest)
        if choice.kind == "dask":
            return _parse_dask(rest)
        return _parse_local(rest) if colon else choice


def local(jobs: int) -> ExecutorChoice:
    """Train in `jobs` processes of this machine; with 1, in this process."""
    return ExecutorChoice(jobs=jobs)


def _parse_local(jobs: str) -> ExecutorChoice:
    try:
        return local(_whole(1, 1024)(jobs))
    except ValueError as error:
        raise _invalid(f"local:N {error}", jobs) from None


def _parse_slurm(options: str) -> ExecutorChoice:
    slurm = _parse_options("slurm", options, _SLURM_OPTIONS)
    jobs, threads = slurm.pop("jobs", None), slurm.get("cpus_per_task")
    assert isinstance(jobs, int | None) and isinstance(threads, int | None)
    return ExecutorChoice(kind="slurm", jobs=jobs, threads=threads, slurm=slurm)


def _parse_dask(rest: str) -> ExecutorChoice:
    address, _, options = rest.partition(",")
    if not re.fullmatch(r"(tcp|tls)://[^\s,/]+:\d{1,5}", address):
        raise _invalid(
            f"dask names no scheduler ({address!r}): write dask:tcp://HOST:8786; "
            "on this machine alone use local:N",
            address,
        )
    threads = _parse_options("dask", options, _DASK_OPTIONS).get("threads")
    assert isinstance(threads, int | None)
    return ExecutorChoice(kind="dask", address=address, threads=threads)


def _parse_options(
    kind: str, text: str, known: Mapping[str, Callable[[str], OptionValue]]
) -> dict[str, OptionValue]:
    """Parse `key=value,key=value`; all problems are reported together."""
    values: dict[str, OptionValue] = {}
    problems = []
    for pair in text.split(",") if text else []:
        key, _, value = pair.partition("=")
        if key not in known:
            problems.append(f"{key!r} is unknown{nearest(key, known)}: {kind} has {', '.join(known)}")
        elif key in values:
            problems.append(f"{key} is given twice: once is enough")
        else:
            try:
                values[key] = known[key](value)
            except ValueError as error:
                problems.append(f"{key} {error}")
    if problems:
        raise _invalid(f"{kind}: {'; '.join(problems)}", text)
    return values


def _invalid(problem: str, value: str) -> InvalidValueError:
    return InvalidValueError(problem, field="executor", value=value)


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A reader of whole numbers from `lowest` to `highest`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text):
            raise ValueError(f"is {text!r}: it must be a whole number")
        if not lowest <= int(text) <= highest:
            raise ValueError(
                f"is {text}: it must be at {f'least {lowest}' if int(text) < lowest else f'most {highest:,}'}"
            )
        return int(text)

    return read


def _number(highest: float) -> Callable[[str], float]:
    """A reader of numbers above 0 and up to `highest`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise ValueError(f"is {text!r}: it must be a number")
        if not 0 < value <= highest:
            raise ValueError(f"is {text}: it must be above 0 and at most {highest:g}")
        return value

    return read


def _text(text: str) -> str:
    """Read any text that is not empty."""
    if not text or "\0" in text:
        raise ValueError("is empty: give it a value" if not text else f"is {text!r}: leave out the zero byte")
    return text


def _cluster(text: str) -> str:
    """Read submitit's cluster: SLURM, or this machine for a trial."""
    if text not in ("slurm", "local"):
        raise ValueError(f"{text!r} is unknown: use slurm, local")
    return text


_SLURM_OPTIONS: Mapping[str, Callable[[str], OptionValue]] = {
    "jobs": _whole(1, 10_000),
    "cluster": _cluster,
    "partition": _text,
    "account": _text,
    "qos": _text,
    "constraint": _text,
    "gres": _text,
    "nodelist": _text,
    "exclude": _text,
    "time": _whole(1, 10**6),
    "gpus_per_node": _whole(0, 64),
    "cpus_per_task": _whole(1, 1024),
    "mem_gb": _number(10**5),
}
_DASK_OPTIONS: Mapping[str, Callable[[str], OptionValue]] = {"threads": _whole(1, 1024)}

"""`--executor`: KIND, KIND:FIRST or KIND:FIRST,key=value,... becomes an `ExecutorChoice`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from deepen.cli.requests.options import Option, Request, choice, nearest, number, text_of, whole
from deepen.study.define.executor import EXECUTORS, ExecutorChoice, local

_SLURM: Mapping[str, Callable[[str], Any]] = {
    "jobs": whole(1, 10_000),
    "cluster": choice(("slurm", "local")),
    "partition": text_of,
    "account": text_of,
    "qos": text_of,
    "constraint": text_of,
    "gres": text_of,
    "nodelist": text_of,
    "exclude": text_of,
    "time": whole(1, 10**6),
    "gpus_per_node": whole(0, 64),
    "cpus_per_task": whole(1, 1024),
    "mem_gb": number(0, 10**5),
}
_DASK: Mapping[str, Callable[[str], Any]] = {"threads": whole(1, 1024)}

JOBS_OPTION = Option(
    name="jobs",
    read=whole(1, 1024),
    help="segments trained at once here, short for --executor local:N (default: one a core, or one a GPU)",
)


def read_executor(text: str) -> ExecutorChoice:
    """Read `--executor`; a ValueError says what is wrong and what would be right."""
    kind, _, rest = text.partition(":")
    if kind not in EXECUTORS:
        known = "; ".join(f"{name}: {what}" for name, what in EXECUTORS.items())
        raise ValueError(f"{kind!r} is unknown{nearest(kind, EXECUTORS)}: use {known}")
    if kind == "local":
        try:
            return local(whole(1, 1024)(rest)) if rest or ":" in text else ExecutorChoice()
        except ValueError as error:
            raise ValueError(f"local:N {error}") from None
    if kind == "slurm":
        slurm = _pairs(rest, _SLURM, "slurm")
        jobs, threads = slurm.pop("jobs", None), slurm.get("cpus_per_task")
        return ExecutorChoice(kind=kind, jobs=jobs, threads=threads, slurm=slurm)
    address, _, options = rest.partition(",")
    if not re.fullmatch(r"(tcp|tls)://[^\s,/]+:\d{1,5}", address):
        raise ValueError(
            f"dask names no scheduler ({address!r}): write dask:tcp://HOST:8786; on this machine alone use local:N"
        )
    threads = _pairs(options, _DASK, "dask").get("threads")
    return ExecutorChoice(kind=kind, address=address, threads=threads)


def _pairs(text: str, known: Mapping[str, Callable[[str], Any]], whose: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    problems = []
    for pair in text.split(",") if text else []:
        key, _, value = pair.partition("=")
        if key not in known:
            problems.append(f"{key!r} is unknown{nearest(key, known)}: {whose} has {', '.join(known)}")
        elif key in values:
            problems.append(f"{key} is given twice: once is enough")
        else:
            try:
                values[key] = known[key](value)
            except ValueError as error:
                problems.append(f"{key} {error}")
    if problems:
        raise ValueError(f"{whose}: {'; '.join(problems)}")
    return values


EXECUTOR_OPTION = Option(
    name="executor",
    read=read_executor,
    help="where segments are trained; " + "; ".join(f"{name}: {what}" for name, what in EXECUTORS.items()),
)


def executor_of(request: Request) -> ExecutorChoice:
    """The executor that a request asks for; --jobs N is --executor local:N."""
    jobs, given = request.get("jobs"), request.get("executor")
    if jobs is None:
        return given or ExecutorChoice()
    if given is not None and given not in (local(jobs), ExecutorChoice()):
        request.problems.append(
            f"--jobs {jobs} is short for --executor local:{jobs} and contradicts the --executor that is given: "
            "leave out --jobs (slurm has slurm:jobs=N; dask takes all of its workers)"
        )
    return local(jobs)

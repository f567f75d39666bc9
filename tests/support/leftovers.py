"""The files in a study's folder, for comparison with another run of the same study."""

import hashlib
import json
from pathlib import Path
from typing import Any

from compare import without_times

WHERE = ("executor", "jobs", "processes")
"""The entries of study.json about the machine and the executor."""


def read_files(folder: Path) -> dict[str, Any]:
    """The content of every file of a study, by name, without times."""
    left: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            left[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".jsonl":
            left[name] = [without_times(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".json" and path.name != "manifest.json":  # it hashes state.json, which has seconds
            content = without_times(json.loads(path.read_text()))
            left[name] = {k: v for k, v in content.items() if name != "study.json" or k not in WHERE}
        elif path.is_file() and path.name != "manifest.json":
            left[name] = None
    return left


def differences(folder: Path, undisturbed: dict[str, Any]) -> dict[str, str]:
    """Files of a study that are missing, left over, or different from those of an undisturbed one."""
    left = read_files(folder)
    return {
        name: "missing" if name not in left else "left over" if name not in undisturbed else "different"
        for name in left.keys() | undisturbed.keys()
        if name not in left or name not in undisturbed or left[name] != undisturbed[name]
    }

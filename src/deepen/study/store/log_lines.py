"""The lines of a segment's logs, metrics.jsonl and evals.jsonl. Needs no torch."""

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def parse_log_line(text: bytes) -> Line | None:
    """A line of a log; None if it is incomplete or damaged."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("tokens"), int) else None


def read_log(path: Path) -> list[tuple[bytes, Line]]:
    """The lines of a log with their bytes, up to the first incomplete one; none if there is no log."""
    complete: list[tuple[bytes, Line]] = []
    for text in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        line = parse_log_line(text)
        if line is None or not text.endswith(b"\n"):
            break
        complete.append((text, line))
    return complete

"""The lines of a segment's logs, metrics.jsonl and evals.jsonl. Needs no torch."""

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from deepen.train.segment import Segment

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


def tokens_trained(segment: Segment, position: int) -> int:
    """The tokens of a segment that are trained when its log or its state is at `position` tokens of the run.

    A log can end before its segment begins: if an arm is added that cuts a piece, the log belongs to the rest.
    """
    return max(segment.start, min(position, segment.end)) - segment.start


def last_steps(steps: Iterable[Line], tokens: int, every_tokens: int) -> list[Line]:
    """The steps over which the training loss at a point of a run is averaged: those of one evaluation interval.

    Args:
        steps: lines of metrics.jsonl.
        tokens: tokens of the run at the point.
        every_tokens: the interval.
    """
    return [step for step in steps if tokens - every_tokens < step["tokens"] <= tokens]


def mean_loss(steps: Iterable[Mapping[str, Any]]) -> float | None:
    """The mean training loss; a step whose loss was not finite was not taken and does not count."""
    losses = [step["loss"] for step in steps if isfinite(step["loss"])]
    return fmean(losses) if losses else None

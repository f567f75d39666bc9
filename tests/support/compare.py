"""Comparing the files of runs."""

from typing import Any

TIMES = (
    *("seconds", "steady_seconds", "step_time_spread", "wall_seconds"),
    *("seconds_multiplier", "seconds_multiplier_interval"),
    *("peak_memory_bytes", "logs", "sha256", "command"),
)
"""Keys of times and memory, of hashes of files that contain them, and of the command, which names its folder."""


def without_times(value: Any) -> Any:
    """A JSON value without the entries that differ between two equal runs."""
    if isinstance(value, dict):
        return {key: without_times(v) for key, v in value.items() if key not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value

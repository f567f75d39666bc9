"""What trackers hold, read with their own packages."""

import json
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

Curves = dict[str, dict[str, list[tuple[int, float]]]]
"""By run and name of a value: (tokens or step, value), as often as it was logged."""


def read_tensorboard(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves: Curves = {}
    for run in sorted((folder / "tensorboard").iterdir()):
        events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
        curves[run.name] = {
            name: [(event.step, event.value) for event in events.Scalars(name)]
            for name in events.Tags()["scalars"]
        }
    return curves


def read_wandb(folder: Path) -> Curves:
    """The files that `wandb sync` uploads; several of one run are uploaded one after another."""
    from wandb.proto.wandb_internal_pb2 import Record

    curves: Curves = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for content in _records(path.read_bytes()):
            record = Record.FromString(content)
            if record.HasField("run"):
                names[path.stem] = record.run.display_name
            if record.HasField("history"):
                values: dict[str, Any] = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                for name, value in values.items():
                    if not name.startswith("_"):
                        curves[names[path.stem]][name].append((values["tokens"], value))
    return curves


def _records(content: bytes) -> list[bytes]:
    """The records of a file in LevelDB's log format, which follow wandb's header of seven bytes."""
    block_bytes, records, parts, at = 32768, [], b"", 7
    while at < len(content):
        left = block_bytes - at % block_bytes
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            records.append(parts)
            parts = b""
    return records


def read_trackio(project: str) -> Curves:
    from trackio.sqlite_storage import SQLiteStorage

    curves: Curves = defaultdict(lambda: defaultdict(list))
    for run in SQLiteStorage.get_runs(project):
        name = run if isinstance(run, str) else run["name"]
        for line in SQLiteStorage.get_logs(project, name):
            for key, value in line.items():
                if isinstance(value, int | float):
                    curves[name.partition(" (")[0]][key].append((line["tokens"], value))
    return curves

"""Writing files of the report so that a reader never sees a part of one.

Unlike in `deepen.durable`, nothing is made durable, because a report can be drawn again.
"""

import os
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path` under a temporary name, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

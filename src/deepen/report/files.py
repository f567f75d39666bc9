"""Writing files of the report so that a reader never sees a part of one.

Unlike in `deepen.durable`, nothing is made durable, because a report can be drawn again.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path

_FIGURE = re.compile(r'href="figures/([\w-]+\.(?:png|svg))"')


def write_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path` under a temporary name, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def linked_figures(page: Path) -> frozenset[str]:
    """Names of the figures to which an earlier page links; none without one."""
    try:
        return frozenset(_FIGURE.findall(page.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return frozenset()


def remove_figures(folder: Path, names: Collection[str]) -> None:
    """Remove figures of an earlier report from the folder of figures, as far as they are there."""
    for name in names:
        (folder / name).unlink(missing_ok=True)

"""The definition of a study as text to copy, from study.json."""

import json
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.home_folder import hide_home

STUDY_FILE = "study.json"
MAX_LINE_LENGTH = 100


def read_config(folder: Path) -> str:
    """The study that a folder's study.json records, as JSON; empty if there is none.

    Home folders are written as `~`, so that a page that is shared does not name its user.
    """
    try:
        content = durable.read_json(folder / STUDY_FILE)
    except durable.DamagedError:
        return ""
    study = None if content is None else content.get("study")
    return hide_home(lay_out(study)) if isinstance(study, dict) else ""


def lay_out(value: Any, indent: str = "") -> str:
    """JSON that is easy to read: what fits into a line is in one line.

    Args:
        value: a value of JSON's types.
        indent: the white space before its last line.
    """
    line = _encode(value)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= MAX_LINE_LENGTH:
        return line
    deeper = f"{indent}  "
    if isinstance(value, dict):
        entries = [f"{_encode(key)}: {lay_out(each, deeper)}" for key, each in value.items()]
        opening, closing = "{", "}"
    else:
        entries = [lay_out(each, deeper) for each in value]
        opening, closing = "[", "]"
    body = ",\n".join(f"{deeper}{entry}" for entry in entries)
    return f"{opening}\n{body}\n{indent}{closing}"


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

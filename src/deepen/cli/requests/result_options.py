"""Options of the folder of a run's results, and of what is kept and shown."""

import os
from pathlib import Path

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import FOLDER, MAX_NAME_BYTES, one_of
from deepen.interop.trackers import TRACKERS
from deepen.study.store.retention import DEFAULT_POLICY, RETENTION_POLICIES

RUNS_FOLDER = "deepen-runs"
"""Where results go, below the current folder, when --out is left out."""

OUT_OPTION = Option(
    name="out",
    short="-o",
    takes=FOLDER,
    help="folder of the results",
    default_help=f"one in {RUNS_FOLDER}/ here",
    fields=("folder",),
)
KEEP_OPTION = Option(
    name="keep",
    takes=one_of(RETENTION_POLICIES),
    help="states to keep on disk. "
    + "; ".join(f"{name}: {kept.help}" for name, kept in RETENTION_POLICIES.items()),
    default=DEFAULT_POLICY,
)
VERIFY_OPTION = Option(name="verify", help="first hash every byte of the states that exist")
TRACK_OPTION = Option(
    name="track",
    takes=one_of(TRACKERS),
    help="show the runs in this tracker too, while they are trained; may be given more than once",
    default_help="none",
    repeats=True,
)
JSON_OPTION = Option(name="json", help="print the result as JSON")


def parse_folder(arguments: Arguments, name: str) -> Path:
    """The folder of the results: the one that is asked for, or the one of this name in RUNS_FOLDER."""
    if "out" in arguments:
        return Path(arguments["out"])
    if Path(name).name != name or name == ".." or len(os.fsencode(name)) > MAX_NAME_BYTES:
        arguments.add(f"{name!r} cannot name a folder in {RUNS_FOLDER}/: name one with --out")
    return Path(RUNS_FOLDER) / name

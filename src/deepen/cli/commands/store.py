"""`deepen store check STUDY` and `deepen store prune STUDY`: whether a study's folder is whole, and less of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from deepen.cli.output.tables import print_lines
from deepen.cli.requests.store import PRUNE, StoreRequest
from deepen.report.units import counted
from deepen.study.run.ownership import refuse_while_trained, stop_earlier_session
from deepen.study.store.lock import keep_writers_out
from deepen.study.store.maintenance import check, prune
from deepen.study.store.retention import get_retention_policy
from deepen.study.store.study_folder import Store


def run(request: StoreRequest) -> int:
    """Check or prune the folder; the exit code is 1 where anything is damaged."""
    return _prune(request) if request.command is PRUNE else _check(request)


def _check(request: StoreRequest) -> int:
    store = Store(request.folder)
    with keep_writers_out(store.folder):
        refuse_while_trained(store.folder)
        found = check(store)
    problems = found.all_problems
    if request.as_json:
        segments = [asdict(segment) for segment in found.segments]
        listing = {"segments": segments, "problems": list(found.problems), "damaged": len(problems)}
        print(json.dumps(listing, indent=1))
        return 1 if problems else 0
    done = sum(segment.done for segment in found.segments)
    states = sum(segment.state == "good" for segment in found.segments)
    steps = sum(segment.steps for segment in found.segments)
    print_lines([
        *problems,
        f"{store.folder}: {counted(len(found.segments), 'segment')}, {done} done, {counted(steps, 'step')}, "
        f"{counted(states, 'good state')}; "
        + (f"{len(problems)} damaged" if problems else "nothing is damaged"),
        *([_describe_repair(store, problems)] if problems else []),
    ])  # fmt: skip
    return 1 if problems else 0


def _describe_repair(store: Store, problems: Sequence[str]) -> str:
    if any(str(store.folder / "study.json") in problem for problem in problems):
        return "Restore study.json from a copy; without it this folder cannot be continued: name another --out"
    return (
        "The command that made it, with --verify and the same --out, trains again what is damaged, and only that"
    )


def _prune(request: StoreRequest) -> int:
    store = Store(request.folder)
    with store.lock():
        stop_earlier_session(store.folder)
        freed = prune(store, get_retention_policy(request.keep))
    total = sum(freed.values())
    if request.as_json:
        print(json.dumps({"freed": freed, "bytes": total}, indent=1))
        return 0
    print_lines([f"{path}: {counted(size, 'byte')}" for path, size in freed.items()])
    print_lines([f"{counted(total, 'byte')} freed" if freed else "Nothing to free: every state is needed"])
    return 0

"""`deepen store check STUDY`, `deepen store prune STUDY`: is a study's folder whole, and what may go."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from deepen.cli.requests.options import Option, Problems, Request, choice, nearest, read_request
from deepen.study.store.keep import KEEPS

if TYPE_CHECKING:
    from deepen.study.store.study_folder import Store

JSON_OPTION = Option(name="json", read=None, help="print what was found as JSON")
_PRUNABLE = tuple(name for name in KEEPS if name != "all")
KEEP_OPTION = Option(
    name="keep", read=choice(_PRUNABLE), help="; ".join(f"{name}: {KEEPS[name]}" for name in _PRUNABLE)
)
ABOUT_CHECK = "Hash every file of a study and read every log; exit code 1 if anything is damaged."
ABOUT_PRUNE = "Remove the states of a study that are no longer needed; never the only good one."
_USAGE = f"""usage: deepen store ACTION STUDY

  deepen store check STUDY               {ABOUT_CHECK}
  deepen store prune STUDY --keep VALUE  {ABOUT_PRUNE}

Each takes --help."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    actions: dict[str, Callable[[Sequence[str]], int]] = {"check": _check, "prune": _prune}
    if argv and argv[0] in actions:
        return actions[argv[0]](argv[1:])
    if argv and argv[0] in ("-h", "--help"):
        print(_USAGE)
        raise SystemExit(0)
    if not argv:
        raise Problems([f"ACTION is missing: use {' or '.join(actions)}"])
    raise Problems([f"ACTION {argv[0]!r} is unknown{nearest(argv[0], actions)}: use {' or '.join(actions)}"])


def _check(argv: Sequence[str]) -> int:
    request = read_request("store check", argv, (JSON_OPTION,), what="STUDY", about=ABOUT_CHECK)
    store = _store_of(request)
    from deepen.study.run.ownership import refuse_while_trained
    from deepen.study.store.maintenance import check_store
    from deepen.study.store.study_folder import StoreError

    try:
        with store.lock() as hold:
            refuse_while_trained(store.folder)
            found = check_store(store)
            hold.unverified = hold.unverified and bool(found.all_problems)
    except StoreError as error:
        raise Problems([str(error)]) from None
    problems = found.all_problems
    if request.get("json"):
        segments = [asdict(segment) for segment in found.segments]
        print(
            json.dumps(
                {"segments": segments, "problems": list(found.problems), "damaged": len(problems)}, indent=1
            )
        )
        return 1 if problems else 0
    done = sum(segment.done for segment in found.segments)
    states = sum(segment.state == "good" for segment in found.segments)
    steps = sum(segment.steps for segment in found.segments)
    console = Console(soft_wrap=True, highlight=False)
    for problem in problems:
        console.print(escape(problem))
    console.print(
        f"{store.folder}: {len(found.segments)} segments, {done} done, {steps:,} steps, {states} good states; "
        + (f"{len(problems)} damaged" if problems else "nothing is damaged")
    )
    if problems:
        console.print(_what_to_do(store, problems))
    return 1 if problems else 0


def _what_to_do(store: "Store", problems: Sequence[str]) -> str:
    if any(str(store.folder / "study.json") in problem for problem in problems):
        return "Restore study.json from a copy; without it the folder cannot be gone on with: name another --out"
    return (
        "The command that made it, with --verify and the same --out, trains again what is damaged, and only that"
    )


def _prune(argv: Sequence[str]) -> int:
    request = read_request("store prune", argv, (KEEP_OPTION, JSON_OPTION), what="STUDY", about=ABOUT_PRUNE)
    if "keep" not in request.values and not any("--keep" in problem for problem in request.problems):
        request.problems.append(f"--keep is missing: use {' or '.join(_PRUNABLE)}")
    store = _store_of(request)
    from deepen.study.run.ownership import stop_earlier_session
    from deepen.study.store.maintenance import prune
    from deepen.study.store.study_folder import StoreError

    try:
        with store.lock():
            stop_earlier_session(store.folder)
            freed = prune(store, request.values["keep"])
    except StoreError as error:
        raise Problems([str(error)]) from None
    if request.get("json"):
        print(json.dumps({"freed": freed, "bytes": sum(freed.values())}, indent=1))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for path, size in freed.items():
        console.print(f"{escape(path)}: {size:,} bytes")
    console.print(f"{sum(freed.values()):,} bytes freed" if freed else "Nothing to free: every state is needed")
    return 0


def _store_of(request: Request) -> "Store":
    """The store of the folder that a request names, once all of the request is right."""
    folder = Path(request.name)
    if request.name and not (folder / "study.json").is_file():
        request.problems.append(f"STUDY {folder} has no study.json: name the folder of a study that has run")
    request.check()
    from deepen.study.store.study_folder import (
        Store,  # torch takes seconds to import: only for a request that is right
    )

    return Store(folder)

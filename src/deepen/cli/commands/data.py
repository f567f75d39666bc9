"""`deepen data ACTION ...`: text becomes token shards; shards are verified and described."""

import json
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepen.cli.commands.data_info import info
from deepen.cli.commands.data_verify import verify
from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines, short
from deepen.cli.requests.data import DataRequest
from deepen.cli.requests.data_info import InfoRequest
from deepen.cli.requests.data_prepare import PrepareRequest
from deepen.cli.requests.data_verify import VerifyRequest
from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import TOKENIZING, PreparationProgress
from deepen.report.units import counted
from deepen.study.run.progress import OnProgress, Preparation


def run(request: DataRequest) -> int:
    """Carry out an action."""
    if isinstance(request, VerifyRequest):
        return verify(request)
    return info(request) if isinstance(request, InfoRequest) else _prepare(request)


def _prepare(request: PrepareRequest) -> int:
    """Prepare a source and print what was made of it."""
    with show_progress(request.folder.name) as on_progress:
        content = prepare(request.preparation, request.folder, request.workers, _with_speed(on_progress))
    if request.as_json:
        print(json.dumps({"folder": str(request.folder), **content}, indent=1))
    else:
        print_lines(_describe(content, request.folder))
    return 0


def _with_speed(on_progress: OnProgress) -> Callable[[PreparationProgress], None]:
    """Report the progress of a preparation with its speed, the average of this call."""
    first: tuple[float, PreparationProgress] | None = None

    def report(progress: PreparationProgress) -> None:
        nonlocal first
        detail = ""
        if progress.what == TOKENIZING:
            now = time.monotonic()
            first = first or (now, progress)
            seconds = now - first[0]
            documents, tokens = counted(progress.documents, "document"), f"{short(progress.tokens)} tokens"
            if seconds:
                documents += f" ({(progress.documents - first[1].documents) / seconds:,.0f}/s)"
                tokens += f" ({short(round((progress.tokens - first[1].tokens) / seconds))}/s)"
            detail = f"{documents}, {tokens}"
        on_progress(Preparation(progress.what, progress.share, detail))

    return report


def _describe(content: Mapping[str, Any], folder: Path) -> list[str]:
    """The result of a preparation in sentences."""
    tokens, documents = content["tokens"], content["documents"]
    left_out = [f"{count:,} {_describe_reason(reason)}" for reason, count in content["dropped"].items() if count]
    return [
        f"{folder}: {counted(len(content['shards']), 'shard')} of {content['dtype']} tokens, vocabulary "
        f"{content['vocab']:,}",
        *(
            f"  {name:<11} {counted(tokens[split], 'token'):>22} in {counted(documents[split], 'document')}"
            for split, name in (("train", "to train on"), ("validation", "held out"))
        ),
        f"  left out: {', '.join(left_out) or 'nothing'}",
        f"Train on it: deepen train full --data {shlex.quote(str(folder))} --vocab {content['vocab']}",
    ]


def _describe_reason(reason: str) -> str:
    """Why documents were left out, after their number."""
    words = {"duplicates": "repeating another", "empty": "without text", "damaged": "damaged"}
    return words.get(reason, f"{reason} with a held-out one")

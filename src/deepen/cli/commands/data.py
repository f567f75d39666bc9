"""`deepen data ACTION ...`: text becomes token shards."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepen.cli.output.progress import show_progress
from deepen.cli.output.tables import print_lines, short
from deepen.cli.requests.data_prepare import PrepareRequest
from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import PreparationProgress
from deepen.study.run.progress import OnProgress, Preparation


def run(request: PrepareRequest) -> int:
    """Prepare a source and print what was made of it."""
    with show_progress(request.folder.name) as on_progress:
        content = prepare(request.preparation, request.folder, request.workers, _with_speed(on_progress))
    if request.as_json:
        print(json.dumps({"folder": str(request.folder), **content}, indent=1))
    else:
        print_lines(_describe(content, request.folder))
    return 0


def _with_speed(on_progress: OnProgress) -> Callable[[PreparationProgress], None]:
    """Report the progress of a preparation with its speed, as the average of this call."""
    first: tuple[float, PreparationProgress] | None = None

    def report(progress: PreparationProgress) -> None:
        nonlocal first
        now = time.monotonic()
        if progress.documents and first is None:
            first = now, progress
        detail = ""
        if progress.documents:
            detail = f"{short(progress.documents)} documents, {short(progress.tokens)} tokens"
        if first is not None and progress.tokens > first[1].tokens and progress.what == first[1].what:
            seconds = now - first[0]
            documents, tokens = progress.documents - first[1].documents, progress.tokens - first[1].tokens
            detail += f", {documents / seconds:,.0f} documents/s, {short(round(tokens / seconds))} tokens/s"
        on_progress(Preparation(progress.what, progress.share, detail))

    return report


def _describe(content: Mapping[str, Any], folder: Path) -> list[str]:
    """The result of a preparation in sentences."""
    tokens, documents, dropped = content["tokens"], content["documents"], content["dropped"]
    left_out = ", ".join(f"{count:,} {_REASONS.get(reason, reason)}" for reason, count in dropped.items() if count)
    return [
        f"{folder}: {len(content['shards'])} shards of {content['dtype']} tokens, vocabulary {content['vocab']:,}",
        *(
            f"  {name}  {tokens[split]:>15,} tokens in {documents[split]:,} documents"
            for split, name in (("train", "to train on"), ("validation", "held out   "))
        ),
        f"  left out: {left_out or 'nothing'}",
        f"Train on it: deepen train full --data {folder} --vocab {content['vocab']}",
    ]


_REASONS = {"empty": "without text", "damaged": "damaged"}
"""How reasons for leaving a document out are called, where dataset.json uses another word."""

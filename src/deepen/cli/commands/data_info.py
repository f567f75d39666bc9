"""`deepen data info DIR`: what is in a folder of token shards."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from deepen.cli.output.tables import numbers, print_sentences, print_table, short, text
from deepen.cli.requests.data_info import InfoRequest
from deepen.data.summary import SplitSummary, Summary, summarize_dataset


def info(request: InfoRequest) -> int:
    """Print what is in the folder."""
    summary = summarize_dataset(request.folder, dtype=request.data_dtype, tokenizer=request.tokenizer)
    if request.as_json:
        print(json.dumps(_to_json(request, summary), indent=1, ensure_ascii=False))
        return 0
    columns = [text("split"), numbers("tokens"), numbers("documents"), numbers("tokens per document")]
    rows = [_row(split, each) for split, each in summary.splits.items()]
    print_table(str(request.folder), [*columns, numbers("shards"), text("format")], rows)
    print_sentences(_describe(request, summary), indent=2)
    return 0


def _row(split: str, summary: SplitSummary) -> list[str]:
    lengths = summary.lengths
    documents = per_document = "unknown"
    if lengths:
        documents = f"{lengths.documents:,}" if lengths.exact else f"about {short(lengths.documents)}"
        per_document = f"{lengths.median:,} (80 %: {lengths.tenth:,} to {lengths.ninetieth:,})"
    return [split, f"{summary.tokens:,}", documents, per_document, str(summary.shards), ", ".join(summary.formats)]


def _describe(request: InfoRequest, summary: Summary) -> Iterator[str]:
    tokenizer, description = summary.tokenizer, summary.description
    if tokenizer:
        yield f"Tokenizer: {tokenizer.vocab:,} tokens, sha256 {tokenizer.sha256[:16]}"
    else:
        yield "Tokenizer: none in the folder; name it with --tokenizer to see documents and text"
    notes = description.notes if description else {}
    for name in ("source", "licence", "licences"):
        if line := _flatten(notes.get(name)):
            yield f"{name.capitalize()}: {line}"
    if request.tokens:
        epochs = request.tokens / summary.splits["train"].tokens
        yield f"A budget of {short(request.tokens)} tokens is {epochs:,.{2 if epochs < 100 else 0}f} epochs"
    for split, each in summary.splits.items():
        if each.sample:
            yield f"Sample ({split}): {each.sample}"


def _flatten(note: Any) -> str:
    """An entry of dataset.json that people read, in a line; empty if there is none."""
    if isinstance(note, Mapping):
        return ", ".join(f"{key} {value}" for key, value in note.items() if isinstance(value, str | int) and value)
    line = " ".join(str(note).split()) if isinstance(note, str) else ""
    return line if len(line) <= 200 else f"{line[:200]} ..."


def _to_json(request: InfoRequest, summary: Summary) -> dict[str, Any]:
    content: dict[str, Any] = {
        "folder": str(request.folder),
        "splits": {split: asdict(each) for split, each in summary.splits.items()},
        "vocab": summary.tokenizer.vocab if summary.tokenizer else None,
        "tokenizer_sha256": summary.tokenizer.sha256 if summary.tokenizer else "",
    }
    if request.tokens:
        content["epochs"] = request.tokens / summary.splits["train"].tokens
    if summary.description:
        content |= {"name": summary.description.name, **summary.description.notes}
    return content

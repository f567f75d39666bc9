"""HellaSwag (Zellers et al. 2019) in completion style, as the paper's code base scores it.

Each ending is scored by its mean loss per token after the context, "context" + " " + ending; the lowest
wins. This is not lm-evaluation-harness's convention (activity label, per byte): never mix the two.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from deepen.evaluate.scorer import Scorer


class TaskError(ValueError):
    """A task file that cannot be used; the message names the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """Token ids of a context and its four endings, and which ending is right."""

    context: tuple[int, ...]
    endings: tuple[tuple[int, ...], ...]
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A HellaSwag item as text."""

    context: str
    endings: tuple[str, ...]
    label: int


MAX_LINE_BYTES = 1 << 20
"""Bytes of the longest line that is read; the longest of HellaSwag's own has under two thousand."""


def read_items(path: Path) -> list[Item]:
    """Read a JSONL file with `ctx`, `endings` and `label` in each line, official or tag-stripped.

    Raises:
        TaskError: there is no such file, or a line of it is no item.
    """
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise TaskError(f"HellaSwag file {path} {what}: name a JSONL file")
    items: list[Item] = []
    try:
        with path.open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES + 1):
                items.append(_item(line, f"{path}, line {len(items) + 1}"))
    except OSError as error:
        raise TaskError(f"HellaSwag file {path} cannot be read: {error.strerror or error}") from None
    if not items:
        raise TaskError(f"HellaSwag file {path} has no items: name a JSONL file with a line for each")
    return items


def _item(line: bytes, where: str) -> Item:
    """An item from a line of somebody's file: nothing in it is trusted unchecked."""
    try:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError
        row = json.loads(line.decode("utf-8"))
        context, endings, label = row["ctx"], row["endings"], row["label"]
        label = int(label) if isinstance(label, str) else label
        for text in (context, *endings):
            if not isinstance(text, str) or not text.strip():
                raise ValueError
            text.encode("utf-8")  # JSON can hold halves of characters, which no tokenizer takes
        if not isinstance(endings, list) or len(endings) < 2:
            raise ValueError
        if type(label) is not int or not 0 <= label < len(endings):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TaskError(
            f"{where}: not a HellaSwag item (ctx, endings, label): download the file again, or mend the line"
        ) from None
    return Item(context=context, endings=tuple(endings), label=label)


def encode_items(items: list[Item], tokenizer: Tokenizer) -> list[Example]:
    """The items as token ids, each ending with the space before it.

    Raises:
        TaskError: the tokenizer makes nothing of a text.
    """

    def ids(text: str) -> tuple[int, ...]:
        found = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
        if not found:
            raise TaskError(f"the tokenizer makes no token of {text[:40]!r}: use the one that made the shards")
        return found

    return [
        Example(context=ids(item.context), endings=tuple(ids(f" {e}") for e in item.endings), label=item.label)
        for item in items
    ]


HELLASWAG_BATCH_TOKENS = {"cpu": 8192, "cuda": 65_536}
"""Of one process, by kind of device."""


@torch.no_grad()
def hellaswag(
    model: Scorer,
    examples: list[Example],
    *,
    context: int,
    device: torch.device,
    batch_tokens: int = HELLASWAG_BATCH_TOKENS["cpu"],
) -> list[bool]:
    """Whether the model picks the right ending, example by example.

    Rows are batched by length, so that little is padded; a row longer than `context` loses its beginning.
    """
    rows = []
    for index, example in enumerate(examples):
        for choice, ending in enumerate(example.endings):
            ids = (*example.context, *ending)[-(context + 1) :]
            rows.append((len(ids), index, choice, ids, min(len(ending), len(ids) - 1)))
    rows.sort(key=lambda row: row[0])
    losses = [[math.inf] * len(example.endings) for example in examples]
    while rows:
        longest = rows[-1][0]
        batch, rows = rows[-max(1, batch_tokens // longest) :], rows[: -max(1, batch_tokens // longest)]
        ids_bt = torch.zeros(len(batch), longest, dtype=torch.int64)
        scored_bt = torch.zeros(len(batch), longest - 1)
        for row, (length, _, _, ids, scored) in enumerate(batch):
            ids_bt[row, :length] = torch.tensor(ids)
            scored_bt[row, length - 1 - scored : length - 1] = 1 / scored
        ids_bt, scored_bt = ids_bt.to(device), scored_bt.to(device)
        losses_bt = model.token_losses(ids_bt[:, :-1], ids_bt[:, 1:])
        means = (losses_bt * scored_bt).sum(dim=1).tolist()
        for (_, index, choice, _, _), loss in zip(batch, means, strict=True):
            losses[index][choice] = loss
    return [scores.index(min(scores)) == example.label for scores, example in zip(losses, examples, strict=True)]

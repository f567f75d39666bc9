"""A check that a tokenizer encodes text at all: with an empty one, every text has the same score.

check_encoding(folder, tokenizer.encode(ORDINARY_TEXT), unknown=tokenizer.unknown)
"""

from collections.abc import Sequence
from pathlib import Path

from deepen.errors import InvalidValueError

ORDINARY_TEXT = "In the first year, 12 of the people said that it was time to go home."
"""A tokenizer of any language with an alphabet has tokens for some of it."""


def check_encoding(folder: Path, ids: Sequence[int], unknown: int | None) -> None:
    """Check the ids of `ORDINARY_TEXT`.

    Args:
        folder: where the tokenizer is.
        ids: what the tokenizer makes of the text, without tokens that it adds before or after.
        unknown: its id for what it has no token for; None if it has no such id.

    Raises:
        InvalidValueError: there are no ids, or only unknown ones.
    """
    if set(ids) - {unknown}:
        return
    made = "only unknown tokens" if ids else "no tokens"
    raise InvalidValueError(
        f"{folder} has a tokenizer that makes {made} of ordinary text",
        field="checkpoint",
        value=folder,
        remedy="put the tokenizer.json there with which the model was trained",
    )


def missing_tokenizer(folder: Path) -> InvalidValueError:
    """The error for a folder without a tokenizer."""
    return InvalidValueError(
        f"{folder} has no tokenizer", field="checkpoint", value=folder, remedy="put its tokenizer.json there"
    )

"""Open a source by what a user calls it."""

from pathlib import Path

from deepen.data.preparation.blocks import Source
from deepen.data.preparation.sources.files import FileSource

HUB = "hf:"


def is_on_hub(name: str) -> bool:
    """Whether a source is a dataset of the Hugging Face Hub."""
    return name.startswith(HUB)


def open_source(name: str, column: str, split_at: str | None) -> Source:
    """A file, a folder, or a dataset of the Hub.

    Args:
        name: a path, or `hf:NAME[:CONFIG[:SPLIT]]`.
        column: the field or column that holds the text, or the path of a nested one (`meta.text`).
        split_at: the line between two documents of a text file; None if each file is one document.

    Raises:
        InvalidValueError: there is no such source, it has no such column, or the Hub cannot be reached.
    """
    if is_on_hub(name):
        from deepen.data.preparation.sources.hub import HubSource

        return HubSource(name.removeprefix(HUB), column)
    return FileSource(Path(name), column, split_at)

"""Tables and figures as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_ESCAPES = str.maketrans({
    "|": r"\|", "\\": r"\\", "*": r"\*", "_": r"\_", "`": r"\`", "[": r"\[", "]": r"\]", "<": "&lt;", "&": "&amp;",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownTable:
    """A table: the first column is text, the others are right-aligned unless `text_columns` names them."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    text_columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The table as Markdown; columns without content are left out."""
        filled = [i for i in range(len(self.columns)) if any(row[i] for row in self.rows)]
        sides = [" --- " if i == 0 or self.columns[i] in self.text_columns else " ---: " for i in filled]
        lines = [
            _line([self.columns[i] for i in filled]),
            f"|{'|'.join(sides)}|",
            *(_line([row[i] for i in filled]) for row in self.rows),
        ]
        return "\n".join(lines)


class Sentences(NamedTuple):
    """A list of sentences."""

    sentences: tuple[str, ...]

    def __str__(self) -> str:
        """The sentences as a list in Markdown."""
        return "\n".join(f"- {sentence}" for sentence in self.sentences)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """A name from a file as plain text in a table."""
    return text.translate(_ESCAPES)


def embed_figure(path: str, dark_path: str, alt: str) -> str:
    """A figure that follows the reader's colours on a page in Markdown."""
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="{dark_path}">\n'
        f'  <img alt="{alt}" src="{path}">\n'
        "</picture>"
    )

"""A command line as text, for results that say how they were made."""

import shlex
from collections.abc import Sequence

from deepen.home_folder import hide_home


def describe_command_line(name: str, words: Sequence[str]) -> str:
    """The command line of a command, as a shell reads it; the user's home folder is written as `~`.

    describe_command_line("study", ["quickstart", "--out", "/home/me/my runs"])
    # deepen study quickstart --out ~/'my runs'
    """
    return " ".join(["deepen", name, *(_quote(hide_home(word)) for word in words)])


def _quote(word: str) -> str:
    """Quote a word, but not the `~` at its beginning, which a shell replaces only outside quotes."""
    if word == "~":
        return word
    if word.startswith("~/"):
        return f"~/{shlex.quote(word[2:])}" if word[2:] else word
    return shlex.quote(word)

"""The library does not know the command line: no options, commands, exit codes or terminal codes below `cli/`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepen.cli.requests.catalog import load_tables
from deepen.cli.requests.command import Command

SOURCE = Path(__file__).parent.parent / "src" / "deepen"
LIBRARY = [path for path in sorted(SOURCE.rglob("*.py")) if "cli" not in path.parts and path.name != "__main__.py"]


def flags(command: Command) -> Iterator[str]:
    for option in command.options:
        yield option.flag
    for action in command.actions:
        yield from flags(action)


TABLES = load_tables()
OPTIONS = frozenset(flags(TABLES))
COMMAND = re.compile(rf"\bdeepen ({'|'.join(command.name for command in TABLES.actions)})\b")


def strings(tree: ast.Module) -> Iterator[str]:
    """The strings of a module that are not docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_the_library_does_not_know_the_command_line(path: Path):
    tree = ast.parse(path.read_text())
    for text in strings(tree):
        assert not OPTIONS.intersection(re.findall(r"--[a-z][a-z-]*", text)), text
        assert not COMMAND.search(text), text
        assert "\x1b" not in text, text
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "sys.exit" not in calls and "print" not in calls

"""Packages that only some commands need. They are installed as extras: `pip install 'deepen[data]'`."""

from importlib import import_module
from typing import Any

from deepen.errors import InvalidValueError


def import_extra(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of a package that is installed with an extra.

    Args:
        module: the module.
        extra: the extra of deepen that installs it.
        purpose: what needs it, as the subject of the message: "reading Parquet".

    Raises:
        InvalidValueError: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is installed, and something that it needs is not
        raise InvalidValueError(
            f"{purpose} needs the package {module.partition('.')[0]}, which is not installed",
            value=module,
            remedy=f"pip install 'deepen[{extra}]'",
        ) from None

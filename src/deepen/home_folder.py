"""Text to be shared that may name the folder of a user."""

import re
from pathlib import Path


def hide_home(text: str) -> str:
    """Write the user's home folder as `~` wherever it is named, so that the text does not name its user."""
    try:
        home = str(Path.home()).rstrip("/")
    except RuntimeError:  # a user without a home folder
        return text
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if home else text

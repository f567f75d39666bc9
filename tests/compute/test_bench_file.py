"""Reading a bench file back: what was written is read, and what is damaged is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from deepen.compute.bench_file import read_timing
from deepen.compute.ledger import Role
from deepen.compute.timing import Timing
from deepen.errors import InvalidValueError
from deepen.model.presets import PRESETS


def timing() -> Timing:
    return Timing(
        device="a machine",
        precision="fp32",
        model=PRESETS["nano"],
        context=64,
        batch_tokens=1024,
        block={Role.FORWARD: 1e-6, Role.THROUGH: 2.5e-6, Role.TRAINED: 3e-6},
        head_frozen=0.0,
        head_trained=5e-7,
        base=7e-6,
    )


def test_a_timing_that_was_written_is_read_back(tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(timing().to_json() | {"phases": [], "misfit": 0.1}))
    assert read_timing(path) == timing()


def changed(*keys: str, to: Any = None) -> str:
    """A bench file with one entry changed, or left out."""
    content = timing().to_json()
    at = content
    for key in keys[:-1]:
        at = at[key]
    if to is None:
        del at[keys[-1]]
    else:
        at[keys[-1]] = to
    return json.dumps(content)


DAMAGED = {
    "empty": ("", "not JSON"),
    "cut off": (json.dumps(timing().to_json())[:-20], "not JSON"),
    "nested without end": ("[" * 100_000, "not JSON"),
    "another thing": ("[1, 2]", "not an object"),
    "no model": (changed("model"), "model is not an object"),
    "no depth": (changed("model", "depth"), "model has no depth"),
    "no timing": (changed("timing"), "timing is not an object"),
    "timing a list": (changed("timing", to=[1.0]), "timing is not an object"),
    "no block": (changed("timing", "block"), "block is not an object"),
    "no role": (changed("timing", "block", "trained"), "block has no trained"),
    "no base": (changed("timing", "base"), "timing has no base"),
    "no device, no context": (json.dumps({"precision": "", "batch_tokens": 1}), "has no device, context"),
    "text for seconds": (changed("timing", "base", to="1e-6"), "base of timing is '1e-6', not a number"),
    "truth for seconds": (changed("timing", "base", to=True), "base of timing is 'True', not a number"),
    "NaN": (changed("timing", "head_trained", to=float("nan")), "head_trained of timing is 'nan'"),
    "infinite": (changed("timing", "block", "trained", to=float("inf")), "trained of block is 'inf'"),
    "beyond any float": (changed("timing", "base", to=10**400), "base of timing is '1000"),
    "negative": (changed("timing", "block", "forward only", to=-1e-9), "'forward only' are -1e-09"),
    "no time": (changed("timing", to={**dict.fromkeys(("head_frozen", "head_trained", "base"), 0),
                                      "block": dict.fromkeys(Role, 0)}), "0 seconds"),
    "half a token": (changed("context", to=64.5), "context of the file is '64.5', not a whole number"),
    "no tokens": (changed("batch_tokens", to=0), "batch_tokens is 0"),
    "no such model": (changed("model", "heads", to=3), "width 20 is not a multiple of heads 3"),
    "head of text": (changed("model", "tied", to="yes"), "tied of model is 'yes', not true or false"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_in_one_line(content: str, words: str, tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(InvalidValueError) as wrong:
        read_timing(path)
    message = str(wrong.value)
    assert message.startswith(f"bench {path} is damaged") and words in message
    assert message.endswith("run the bench again") and len(message.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"does not exist: run a bench, which writes one$"):
        read_timing(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"is not a file"):
        read_timing(tmp_path)
    binary = tmp_path / "bench.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"not JSON"):
        read_timing(binary)

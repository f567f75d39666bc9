"""Whatever a file contains, its reader returns or raises its own error."""

import json
import resource
import runpy
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = runpy.run_path(str(Path(__file__).with_name("readers.py")))
READERS, SEEDS = HERE["READERS"], HERE["SEEDS"]

JSON_READERS = [
    pytest.param(name, marks=pytest.mark.slow if name == "results" else ())  # it renders a page each time
    for name in READERS
    if SEEDS[name].startswith(b"{")
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read(name: str, content: bytes) -> None:
    reader, own = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader(Path(folder), content)
        except own as error:
            assert str(error) and "\n" not in str(error)[:40]


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("description", "manifest", "study")])
def test_the_valid_file_is_read(name: str, tmp_path: Path):
    try:
        READERS[name][0](tmp_path, SEEDS[name])
    except ValueError as error:
        assert name == "dataset" and "are the same" in str(error)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=4096))
def test_arbitrary_bytes(name: str, content: bytes):
    read(name, content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_valid_file_with_some_bytes_changed_or_cut(name: str, data: st.DataObject):
    content = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(name, bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content))


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON_READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_valid_file_with_a_value_of_a_different_kind(name: str, data: st.DataObject):
    valid: Any = json.loads(SEEDS[name].splitlines()[0])
    place: Any = valid
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = place[key]
    read(name, json.dumps(valid).encode())


@pytest.mark.parametrize("count", [2**31 - 1, -(2**31), -1, 10**9])
def test_a_forged_header_allocates_nothing(count: int, tmp_path: Path):
    """Runs with less memory than the header claims."""
    path = tmp_path / "a_train.bin"
    path.write_bytes(struct.pack("<3i", 20240520, 1, count) + bytes(1012 + 600))
    code = (
        "import resource, sys; from pathlib import Path; from deepen.data.shard_file import *; "
        "from deepen.data.errors import DataError; "
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096; "
        f"resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, {resource.RLIM_INFINITY}))\n"
        f"try: examine_shard(Path({str(path)!r}))\nexcept DataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "truncated or damaged" in done.stdout, done.stderr

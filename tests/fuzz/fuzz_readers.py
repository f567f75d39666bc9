"""Fuzz a reader of untrusted files, guided by coverage.

    pip install -c constraints.txt '.[fuzz]'
    python tests/fuzz/fuzz_readers.py READER -max_total_time=60

READER is shard, dataset, description, tokenizer, task, bench, results, study or manifest. Prints the number of
executions, or the input for which the reader raised an error other than its own. Further options are libFuzzer's.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["deepen", "json", "readers"]):
    sys.path.insert(0, str(Path(__file__).parent))
    from readers import READERS, SEEDS

NAME = sys.argv.pop(1)
READER, OWN = READERS[NAME]
FOLDER = Path(tempfile.mkdtemp())


def once(content: bytes) -> None:
    with contextlib.suppress(OWN):
        READER(FOLDER, content)


if __name__ == "__main__":
    corpus = Path(tempfile.mkdtemp())
    (corpus / "valid").write_bytes(SEEDS[NAME])
    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=4096", "-max_len=65536", str(corpus)], once)
    atheris.Fuzz()

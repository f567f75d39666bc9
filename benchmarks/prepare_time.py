"""What preparing text takes, beside a plain copy of it and beside what the tokenizer's library takes alone.

    python benchmarks/prepare_time.py --megabytes 64 --workers 2 --tokenizer gpt2

Prepares a JSONL file as `deepen data prepare` does: reads it, tokenizes, drops duplicates and overlap, writes
shards. Without --source, documents are drawn from the words of the embedded corpus. The library alone is one call
with all texts in memory, on as many threads: `encode_ordinary_batch` of tiktoken, or `encode_batch_fast` of
tokenizers. All take turns, because the load of a machine varies, and the best time of each is printed, with the
CPU time of that turn. The row "tokenizing" is the speed between the first block and the last, without the start of
the processes and the writing of shards.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepen.data import gpt2_tokenizer
from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import TOKENIZING, PreparationProgress, PreparationSettings
from deepen.data.sources import read_embedded

DOCUMENT_WORDS = 1_500


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=64.0, help="text to prepare (default 64)")
    parser.add_argument("--source", type=Path, help="JSONL file to take it from (default: the embedded corpus)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes and threads (default: cores)"
    )
    parser.add_argument("--tokenizer", default="gpt2", help="as of deepen data prepare (default gpt2)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each (default 3)")
    return parser.parse_args()


def read_texts(source: Path | None) -> Iterator[str]:
    if source is not None:
        with source.open() as file:
            yield from (json.loads(line)["text"] for line in file)
        return
    words = [word for text in read_embedded()[0] for word in text.split(" ")]
    random = np.random.RandomState(0)
    while True:
        yield " ".join(words[index] for index in random.randint(0, len(words), DOCUMENT_WORDS))


def write_source(args: argparse.Namespace, path: Path) -> list[str]:
    """Write the JSONL file; returns its texts."""
    texts, size = list[str](), 0
    with path.open("w") as file:
        for text in read_texts(args.source):
            texts.append(text)
            size += len(text.encode())
            file.write(json.dumps({"text": text}) + "\n")
            if size >= 1e6 * args.megabytes:
                break
    return texts


@dataclass
class Times:
    """Seconds of the fastest turn: by the clock, and of all processes' CPU time."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def add(self, work: Callable[[], object]) -> None:
        cpu, began = cpu_seconds(), time.perf_counter()
        work()
        wall = time.perf_counter() - began
        if wall < self.wall:
            self.wall, self.cpu = wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def load_library(args: argparse.Namespace, folder: Path) -> tuple[str, Callable[[list[str]], object]]:
    """The library's name, and its own call for the tokenizer of a prepared folder."""
    if args.tokenizer != "gpt2":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return "tokenizers", lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    import tiktoken

    with tempfile.TemporaryDirectory() as cache:  # where it finds the files that it would download
        os.environ["TIKTOKEN_CACHE_DIR"] = cache
        for name, content in zip(gpt2_tokenizer.FILES, gpt2_tokenizer.read_files(), strict=True):
            (Path(cache) / hashlib.sha1((gpt2_tokenizer._URL + name).encode()).hexdigest()).write_bytes(content)
        encoding = tiktoken.get_encoding("gpt2")
    return "tiktoken", lambda texts: encoding.encode_ordinary_batch(texts, num_threads=args.workers)


def prepare_once(args: argparse.Namespace, source: Path, out: Path) -> tuple[float, dict[str, Any]]:
    """Prepare the file; returns tokens per second between the first block and the last, and dataset.json."""
    shutil.rmtree(out, ignore_errors=True)
    blocks = list[tuple[float, int]]()

    def on_progress(progress: PreparationProgress) -> None:
        if progress.what == TOKENIZING:
            blocks.append((time.perf_counter(), progress.tokens))

    content = prepare(
        PreparationSettings(source=str(source), tokenizer=args.tokenizer), out, args.workers, on_progress
    )
    (began, before), (ended, after) = blocks[0], blocks[-1]
    return (after - before) / (ended - began) if ended > began else 0.0, dict(content)


def main() -> None:
    args = parse_arguments()
    os.environ["RAYON_NUM_THREADS"] = str(args.workers)
    copying, alone, preparing, speed = Times(), Times(), Times(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "text.jsonl", Path(folder) / "out"
        texts = write_source(args, source)
        content: dict[str, Any] = {}

        def prepare_it() -> None:
            nonlocal speed, content
            own_speed, content = prepare_once(args, source, out)
            speed = max(speed, own_speed)

        for turn in range(args.turns):
            preparing.add(prepare_it)
            if turn == 0:
                library, encode = load_library(args, out)
            alone.add(partial(encode, texts))
            copying.add(lambda: shutil.copyfile(source, Path(folder) / "copy"))
    megabytes, tokens = sum(len(text.encode()) for text in texts) / 1e6, sum(content["tokens"].values())
    print(f"{megabytes:.1f} MB of text, {tokens:,} tokens, {args.tokenizer}, {args.workers} workers")
    rows = (("plain copy", copying), (f"{library} alone", alone), ("deepen data prepare", preparing))
    for name, times in rows:
        print(f"{name:<24}{megabytes / times.wall:8.1f} MB/s {tokens / times.wall:14,.0f} tokens/s "
              f"{times.cpu:7.2f} s of CPU time")  # fmt: skip
    print(f"{'  of it: tokenizing':<24}{speed / tokens * megabytes:8.1f} MB/s {speed:14,.0f} tokens/s, "
          f"{speed * alone.wall / tokens:.0%} of {library} alone")  # fmt: skip


if __name__ == "__main__":
    main()

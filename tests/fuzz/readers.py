"""The readers of untrusted files, each as a function of a folder and the bytes put there.

A reader must return, or raise its own error.
"""

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import zstandard

from deepen.compute.bench_file import read_timing
from deepen.compute.ledger import Role
from deepen.data.description import read_description
from deepen.data.errors import DataError
from deepen.data.preparation.blocks import Document, Problem
from deepen.data.preparation.sources.files import FileSource
from deepen.data.shard_formats import read_layout
from deepen.data.shards import open_dataset
from deepen.data.tokenizers import load_tokenizer, train_bpe
from deepen.errors import InvalidValueError
from deepen.evaluate.registry import get_task
from deepen.evaluate.task import TaskError
from deepen.model.presets import PRESETS
from deepen.report.page.page import render_page
from deepen.report.summary.study_summary import summarize
from deepen.report.tables.data_files import make_tables, write_csv, write_parquet
from deepen.study.define.presets import quickstart
from deepen.study.results.results_file import ResultsError, load_results
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_check import StateError
from deepen.train.checkpoint.state_folder import load_state


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def shard(folder: Path, content: bytes) -> None:
    layout = read_layout(_put(folder / "a_train.bin", content))
    assert layout.file_bytes == len(content)


def numpy_shard(folder: Path, content: bytes) -> None:
    layout = read_layout(_put(folder / "a_train.npy", content))
    assert layout.file_bytes == len(content)


def dataset(folder: Path, content: bytes) -> None:
    _put(folder / "b_train.bin", content)
    _put(folder / "b_val.bin", SEEDS["shard"])
    open_dataset(folder, 512)


def description(folder: Path, content: bytes) -> None:
    _put(folder / "tokenizer.json", b"{}")
    read_description(_put(folder / "dataset.json", content).parent)


def tokenizer(folder: Path, content: bytes) -> None:
    load_tokenizer(_put(folder / "words" / "tokenizer.json", content).parent, 512)


def task(folder: Path, content: bytes) -> None:
    get_task("hellaswag").check(_put(folder / "task.jsonl", content))


def bench(folder: Path, content: bytes) -> None:
    read_timing(_put(folder / "bench.json", content))


def results(folder: Path, content: bytes) -> None:
    results = load_results(_put(folder / "results.json", content).parent)
    tables = make_tables(results)
    write_parquet(tables, folder)
    render_page(summarize(results), (), write_csv(tables, folder))


def study(folder: Path, content: bytes) -> None:
    store = Store(_put(folder / "study" / "study.json", content).parent)
    store.check(quickstart())


def manifest(folder: Path, content: bytes) -> None:
    load_state(_put(folder / "state" / "manifest.json", content).parent)


def text_source(name: str, folder: Path, content: bytes) -> None:
    """Each place in a source of text is a document or a problem."""
    source = FileSource(_put(folder / name, content), "text", "---" if ".txt" in name else None)
    for placed in source.blocks({}):
        for record in placed.block.read():
            assert isinstance(record, Document | Problem)


READERS: dict[str, tuple[Callable[[Path, bytes], None], tuple[type[Exception], ...]]] = {
    "shard": (shard, (DataError,)),
    "numpy_shard": (numpy_shard, (DataError,)),
    "dataset": (dataset, (DataError,)),
    "description": (description, (DataError,)),
    "tokenizer": (tokenizer, (DataError,)),
    "task": (task, (TaskError,)),
    "bench": (bench, (InvalidValueError,)),
    "results": (results, (ResultsError,)),
    "study": (study, (StoreError,)),
    "manifest": (manifest, (StateError,)),
    "jsonl": (partial(text_source, "a.jsonl"), (InvalidValueError,)),
    "jsonl_gz": (partial(text_source, "a.jsonl.gz"), (InvalidValueError,)),
    "jsonl_zst": (partial(text_source, "a.jsonl.zst"), (InvalidValueError,)),
    "text": (partial(text_source, "a.txt"), (InvalidValueError,)),
}
"""Readers by name, with the errors that each may raise."""


def _shard() -> bytes:
    header = struct.pack("<3i", 20240520, 1, 600) + bytes(1012)
    return header + (np.arange(600, dtype="<u2") % 512).tobytes()


def _numpy_shard() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(600, dtype="<u2"))
    return file.getvalue()


def _bench() -> bytes:
    block = {str(role): 1e-6 for role in Role}
    return json.dumps({
        "device": "cpu", "precision": "fp32", "model": asdict(PRESETS["nano"]), "context": 64, "batch_tokens": 64,
        "timing": {"block": block, "head_frozen": 0.0, "head_trained": 1e-6, "base": 1e-6},
    }).encode()  # fmt: skip


def _results() -> bytes:
    place = {"tokens": 64, "step": 1, "flops": 10, "seconds": 1.0, "val_loss": 3.0, "train_loss": 3.0}
    mark = place | {"accounting": "flops", "budget_share": 1.0, "annealed": True}
    arm = {"recipe": "full", "seed": 0, "curve": [place], "marks": [mark], "peak_memory_bytes": 5}
    arm |= {"tasks": [place | {"task": "hellaswag", "value": 0.3, "stderr": 0.1, "n": 8}]}
    verdict = {"arm": "b", "accounting": "flops", "n_seeds": 1, "loss": 3.0, "difference": 0.1, "interval": [0, 1]}
    verdict |= {"compute_multiplier": 1.0, "outcome": "wins", "sentence": "x"}
    return json.dumps({
        "study": "s", "baseline": "a", "regime": {"depth": 12, "data": {"name": "x", "epochs": 2.0}},
        "noise": {"baseline_seed_std": 0.1}, "arms": [arm | {"name": "a"}, arm | {"name": "b"}],
        "verdicts": [verdict], "sharing": {"tokens_trained": 5, "tokens_if_separate": 9},
    }).encode()  # fmt: skip


_LINES = b'{"text": "a few words", "license": "free"}\n\n{"text": "of text"}\n'
_ITEM = {"ctx": "The Congress", "endings": ["met.", "of of", "ran", "sea"], "label": 1}
SEEDS = {
    "shard": _shard(),
    "numpy_shard": _numpy_shard(),
    "dataset": _shard(),
    "description": json.dumps({"name": "a", "vocab": 512, "tokenizer_sha256": "0", "shards": {"a": "b"}}).encode(),
    "tokenizer": train_bpe(["a few words of text, and then a few words more"], 300).to_json().encode(),
    "task": (json.dumps(_ITEM) + "\n").encode() * 2,
    "bench": _bench(),
    "results": _results(),
    "study": json.dumps({"study": quickstart().to_json(), "threads": 1}).encode(),
    "manifest": json.dumps({"weights.safetensors": {"bytes": 1, "sha256": "0"}}).encode(),
    "jsonl": _LINES,
    "jsonl_gz": gzip.compress(_LINES),
    "jsonl_zst": zstandard.compress(_LINES),
    "text": b"a few words\n---\nof text\n",
}
"""A valid file for each reader, which the tests damage."""

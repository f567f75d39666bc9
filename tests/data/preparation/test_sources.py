"""What people have: formats, encodings and damage."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import PreparationSettings
from deepen.errors import InvalidValueError
from preparation_support import Prepared, make_documents, write_jsonl

Prepare = Callable[..., Prepared]
DOCUMENTS = make_documents(40)
JSONL = "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(DOCUMENTS)).encode()
SEPARATED = "\n<|endoftext|>\n".join(DOCUMENTS)


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"id": [*range(40)], "text": DOCUMENTS}), path, row_group_size=9)


def write_categories(path: Path) -> None:
    """As pandas writes a categorical column."""
    pq.write_table(pa.table({"text": pa.array(DOCUMENTS).dictionary_encode()}), path, row_group_size=9)


def write_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    for number, text in enumerate(DOCUMENTS):
        (path / f"{number:02}.txt").write_text(text)
    for name in ("notes.csv", "README.md", "LICENSE.txt"):
        (path / name).write_text("not a document")
    (path / ".hidden.txt").write_text("not a document")


def write_shards(path: Path) -> None:
    path.mkdir()
    lines = JSONL.splitlines(keepends=True)
    (path / "0.jsonl").write_bytes(b"".join(lines[:10]))
    (path / "1.jsonl.gz").write_bytes(
        gzip.compress(b"".join(lines[10:20])) + gzip.compress(b"".join(lines[20:30]))
    )
    (path / "2.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines[30:])))
    (path / "README.md").write_text("not a document")


FORMATS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda path: path.write_bytes(JSONL),
    "a.json": lambda path: path.write_bytes(b"\xef\xbb\xbf" + JSONL.replace(b"\n", b"\r\n\r\n")),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(JSONL)),
    "a.jsonl.zst": lambda path: path.write_bytes(zstandard.compress(JSONL)),
    "a.parquet": write_parquet,
    "categories.parquet": write_categories,
    "mixed": write_shards,
    "folder": write_folder,
    "a.txt": lambda path: path.write_text(SEPARATED),
    "a.txt.gz": lambda path: path.write_bytes(gzip.compress(SEPARATED.replace("\n", "\r\n").encode())),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_documents(prepare_bytes: Prepare, tmp_path: Path, name: str):
    FORMATS[name](tmp_path / name)
    split_at = "<|endoftext|>" if ".txt" in name else None
    prepared = prepare_bytes(tmp_path / name, split_at=split_at, val_tokens=1)
    assert prepared.training == [text for text in DOCUMENTS if text not in prepared.held_out]
    assert len(prepared.held_out) == 1 and set(prepared.description["dropped"].values()) == {0}


def test_zstandard_with_a_long_window_is_read(prepare_bytes: Prepare, tmp_path: Path):
    """As `zstd --long=28` writes it, 256 MB, which decompressors refuse by default."""
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(stream.compress(JSONL) + stream.flush())
    assert len(prepare_bytes(tmp_path / "a.jsonl.zst").training) == 39


def test_blank_lines_can_separate_documents(prepare_bytes: Prepare, tmp_path: Path):
    (tmp_path / "a.txt").write_text("\n \n\n".join(DOCUMENTS))
    prepared = prepare_bytes(tmp_path / "a.txt", split_at="", val_tokens=1)
    assert (
        len(prepared.training) == 39
        and prepared.training[:3] == [text for text in DOCUMENTS if text not in prepared.held_out][:3]
    )


def test_line_ends_and_byte_order_marks_are_not_part_of_a_text(prepare_bytes: Prepare, tmp_path: Path):
    texts = ["\ufefffirst\r\nline " + DOCUMENTS[0], "second\n\r\nline " + DOCUMENTS[1]]
    prepared = prepare_bytes(texts, val_tokens=1)
    assert sorted(prepared.training + prepared.held_out) == [
        "first\nline " + DOCUMENTS[0],
        "second\n\nline " + DOCUMENTS[1],
    ]


NESTED = [
    {"meta": {"text": text, "id": 1}, "note.text": f"note {number}", "other": "x"}
    for number, text in enumerate(DOCUMENTS)
]


def write_nested(path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(NESTED), path, row_group_size=9)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in NESTED))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_nested_text_is_named_by_its_path(prepare_bytes: Prepare, tmp_path: Path, name: str):
    write_nested(tmp_path / name)
    prepared = prepare_bytes(tmp_path / name, text_column="meta.text", val_tokens=1)
    assert prepared.training == [text for text in DOCUMENTS if text not in prepared.held_out]
    with_dot = prepare_bytes(tmp_path / name, "dot", text_column="note.text", val_tokens=1)
    assert {*with_dot.training, *with_dot.held_out} == {f"note {number}" for number in range(40)}


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize("column", ["text", "meta", "meta.txt", "other.text"])
def test_only_fields_that_hold_text_are_suggested(tmp_path: Path, name: str, column: str):
    write_nested(tmp_path / name)
    preparation = PreparationSettings(source=str(tmp_path / name), text_column=column, tokenizer="byte")
    with pytest.raises(InvalidValueError) as caught:
        prepare(preparation, tmp_path / "out")
    assert caught.value.allowed == ("meta.text", "note.text", "other")


DAMAGED_LINES = {
    b"{broken": "it is not JSON",
    b'{"text": "cut': "it is not JSON",
    b'["text"]': "it is not a JSON object",
    b'{"text": 5}': "its 'text' is not text",
    b'{"body": "text"}': "it has no 'text'",
    b'{"text": "\xff\xfe"}': "it is not UTF-8",
    b'{"text": "a\\ud800"}': "it has half of a surrogate pair",
    b"[" * 100_000: "it is not JSON",
}


@pytest.mark.parametrize("line", DAMAGED_LINES, ids=DAMAGED_LINES.values())
def test_damaged_lines_are_left_out_counted_and_the_first_is_named(
    prepare_bytes: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
):
    source = tmp_path / "a.jsonl"
    good = JSONL.splitlines()
    source.write_bytes(b"\n".join([*good[:7], line, *good[7:20], line, *good[20:]]))
    prepared = prepare_bytes(source, val_tokens=1)
    assert len(prepared.training) == 39 and prepared.description["dropped"]["damaged"] == 2
    assert f"a.jsonl, line 8: {DAMAGED_LINES[line]}" in caplog.text
    with pytest.raises(InvalidValueError, match="line 8"):
        prepare_bytes(source, "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_documents_without_text_are_left_out_and_counted(prepare_bytes: Prepare, tmp_path: Path):
    source = tmp_path / "a.jsonl"
    source.write_bytes(b'{"text": ""}\n{"text": "\\ufeff \\r\\n"}\n{"text": null}\n' + JSONL)
    assert prepare_bytes(source).description["dropped"]["empty"] == 3


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_of_a_damaged_compressed_file_the_lines_before_the_damage_are_used(
    prepare_bytes: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
):
    FORMATS[name](tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    if damage == "truncated":
        del content[-100:]
    else:
        content[-100:-50] = b"\xff" * 50
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / name).write_bytes(content)
    write_jsonl(folder / "b.jsonl", make_documents(10, seed=1))
    prepared = prepare_bytes(folder, val_tokens=1)
    assert prepared.description["dropped"]["damaged"] == 1 and len(prepared.training) >= 9
    assert f"{name}: it{'' if damage == 'truncated' else 's'}" in caplog.text
    if damage == "truncated" and ".gz" in name:  # this .zst file is one block, all of which is lost
        assert set(DOCUMENTS[:20]) <= {*prepared.training, *prepared.held_out}


def test_a_parquet_file_that_cannot_be_read_is_left_out_and_named(
    prepare_bytes: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "source"
    folder.mkdir()
    write_parquet(folder / "a.parquet")
    (folder / "b.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-100])
    prepared = prepare_bytes(folder, val_tokens=1)
    assert len(prepared.training) == 39 and prepared.description["dropped"]["damaged"] == 1
    assert "b.parquet: it cannot be read" in caplog.text


def test_a_row_that_is_not_utf8_is_left_out_and_named(
    prepare_bytes: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    texts = pa.array([*(text.encode() for text in DOCUMENTS), b"a\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    prepared = prepare_bytes(tmp_path / "a.parquet", val_tokens=1)
    assert len(prepared.training) == 39 and prepared.description["dropped"]["damaged"] == 1
    assert "a.parquet, row 41: it is not UTF-8" in caplog.text


@pytest.mark.parametrize(
    ("write", "column", "problem"),
    [
        (lambda path: path.with_suffix(".jsonl").write_bytes(JSONL), "txt", "text_column 'txt' is not a field of"),
        (lambda path: write_parquet(path.with_suffix(".parquet")), "txt", "text_column 'txt' is not a column of"),
        (
            lambda path: write_parquet(path.with_suffix(".parquet")),
            "id",
            "'id' in .*a.parquet holds int64, not text",
        ),
        (lambda path: path.with_suffix(".json").write_text('[{"text": "a"}]'), "text", "source .* JSON array"),
        (lambda path: path.with_suffix(".txt").write_text(" \n"), "text", "source has no text"),
        (
            lambda path: path.with_suffix(".jsonl").write_bytes(b"\xff\n{\n"),
            "text",
            "source has no text that can be used: .*a.jsonl, line 1: it is not UTF-8",
        ),
        (lambda path: path.with_suffix(".csv").mkdir(), "text", "source .* has no file to read"),
        (lambda path: None, "text", "source .* does not exist"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_and_nothing_is_written(
    tmp_path: Path, write: Callable[[Path], object], column: str, problem: str
):
    write(tmp_path / "a")
    source = next((str(path) for path in tmp_path.iterdir()), str(tmp_path / "missing"))
    with pytest.raises(InvalidValueError, match=problem):
        prepare(PreparationSettings(source=source, text_column=column, tokenizer="byte"), tmp_path / "out")
    assert len(list(tmp_path.iterdir())) <= 1


def test_dividing_text_files_is_refused_where_there_are_none(prepare_bytes: Prepare, tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    with pytest.raises(InvalidValueError, match=r"divides text files, and .* has none"):
        prepare_bytes(tmp_path / "a.jsonl", split_at="", val_tokens=1)

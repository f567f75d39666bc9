"""Chunks of logits: even ones cover all rows with little padding."""

from hypothesis import given
from hypothesis import strategies as st

from deepen.model.chunks import ROW_MULTIPLE, VOCAB_MULTIPLE, even_chunk_rows, padded_vocab


@given(rows=st.integers(0, 1 << 16), most=st.integers(1, 1 << 12))
def test_even_chunks_cover_all_rows_with_less_padding_than_rounding_takes(rows: int, most: int):
    size, chunks = even_chunk_rows(rows, most), max(1, -(-rows // most))
    assert size % ROW_MULTIPLE == 0 and size < most + ROW_MULTIPLE
    assert rows <= size * chunks < rows + chunks + chunks * ROW_MULTIPLE


def test_a_padded_vocabulary_is_whole_tiles_and_never_smaller():
    assert [padded_vocab(v) for v in (1, 64, 65, 50_257, 50_304)] == [64, 64, 128, 50_304, 50_304]
    assert padded_vocab(50_257) % VOCAB_MULTIPLE == 0

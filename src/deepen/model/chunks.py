"""Shapes of the logits that the loss computes at a time. Needs no torch, because the memory model uses it too."""

MAX_LOGITS_CPU = 1 << 19
"""About as many logits as fit into a CPU's cache: 2 MiB in fp32."""

MAX_LOGITS_GPU = 1 << 26
"""Enough logits to keep a GPU busy."""

MIN_CHUNK_ROWS = 128
"""With fewer rows, the matrix products lose more time than the cache saves."""

ROW_MULTIPLE = 16
"""Even chunks have a multiple of this many rows: whole tiles of the matrix units."""

VOCAB_MULTIPLE = 64
"""A GPU's fast kernels for bf16 need rows of logits that begin at multiples of 16 bytes, and work in tiles."""


def chunk_rows(vocab: int, *, gpu: bool) -> int:
    """Rows of logits, one per token, that are in memory at a time, for a vocabulary of `vocab` tokens."""
    return max(MIN_CHUNK_ROWS, (MAX_LOGITS_GPU if gpu else MAX_LOGITS_CPU) // vocab)


def even_chunk_rows(rows: int, max_rows: int) -> int:
    """Rows of each chunk if `rows` are divided into as few equal chunks as possible. The last may need padding.

    At most `max_rows`, rounded up to a multiple of ROW_MULTIPLE. For example 32,768 rows and at most 1,334: 25
    chunks of 1,312, the last with 32 rows of padding.
    """
    chunks = max(1, -(-rows // max_rows))
    return round_up(max(1, -(-rows // chunks)), ROW_MULTIPLE)


def padded_vocab(vocab: int) -> int:
    """The logits per token that a GPU computes in bf16, of which those from `vocab` on are ignored."""
    return round_up(vocab, VOCAB_MULTIPLE)


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is at least `number`."""
    return -(-number // multiple) * multiple

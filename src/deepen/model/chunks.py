"""How many rows of logits the loss computes at a time. Needs no torch, because the memory model uses it too."""

MAX_LOGITS_CPU = 1 << 19
"""About as many logits as fit into a CPU's cache: 2 MiB in fp32."""

MAX_LOGITS_GPU = 1 << 26
"""Enough logits to keep a GPU busy."""

MIN_CHUNK_ROWS = 128
"""With fewer rows, the matrix products lose more time than the cache saves."""


def chunk_rows(vocab: int, *, gpu: bool) -> int:
    """Rows of logits, one per token, that are in memory at a time, for a vocabulary of `vocab` tokens."""
    return max(MIN_CHUNK_ROWS, (MAX_LOGITS_GPU if gpu else MAX_LOGITS_CPU) // vocab)

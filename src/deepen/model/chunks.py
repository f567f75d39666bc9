"""How many rows of logits the loss computes at a time. Needs no torch: the memory model counts them too."""

MAX_LOGITS_CPU = 1 << 20
"""As many logits as stay in a CPU's cache."""

MAX_LOGITS_GPU = 1 << 26
"""As many logits as keep a GPU busy."""

MIN_CHUNK_ROWS = 128
"""With fewer rows at a time, matrix products lose more than the cache gains."""


def chunk_rows(vocab: int, *, gpu: bool) -> int:
    """Rows of logits, one per token, that are in memory at a time."""
    return max(MIN_CHUNK_ROWS, (MAX_LOGITS_GPU if gpu else MAX_LOGITS_CPU) // vocab)

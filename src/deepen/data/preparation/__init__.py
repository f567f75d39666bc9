"""Preparation: text of any size becomes a folder of token shards.

    source ── blocks ──▶ workers ── tokens, hashes ──▶ spool ── what is held out, what is dropped ──▶ shards

`sources/` reads what people have and divides it into blocks. `worker.py` turns a block into tokens. `spool.py`
keeps them on disk in the order of the source, so an interrupted preparation continues. `splits.py` decides what
becomes of each document once all are known. `finish.py` writes the shards. `prepare.py` is the whole flow.
`in_memory.py` is a simpler one, for documents that fit into memory: the embedded corpus.
"""

"""Losses of blocks of validation text, and answers to tasks, in compact form, for committed results.

All marks of a run are measured on the same text, so the losses of a block differ little from mark to mark. They
are rounded to `UNIT`, and of all marks but the first only the change is kept:

    blocks of two marks     (4.155, 4.041), (4.121, 4.010)
    in units                20775, 20205,    -170,  -155    then compressed, and written as base64
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

UNIT = 2e-4
"""The precision of a packed loss in nats per token; the ends of intervals change by some 1e-5 nats."""

_SIZE = 4
"""Bytes of a number."""

_MAX_BYTES = 4 * 10**6
"""More bytes than the marks of any run need; limits what is unpacked from a file of unknown origin."""


def round_to_unit(loss: float) -> float:
    """A loss as it is read from a packed string."""
    return _to_loss(round(loss / UNIT))


def _to_loss(units: int) -> float:
    return round(units * UNIT, 4)


def pack_blocks(marks: Sequence[Sequence[float]]) -> str:
    """Pack the losses of the blocks of each mark, in nats per token, the same number for all marks.

    Returns:
        Empty if there are none, or if marks differ in their number of blocks.
    """
    if not marks or not marks[0] or len({len(blocks) for blocks in marks}) != 1:
        return ""
    units = [[round(loss / UNIT) for loss in blocks] for blocks in marks]
    changes = [*units[0]]
    for before, after in pairwise(units):
        changes += [new - old for old, new in zip(before, after, strict=True)]
    content = struct.pack(f"<{len(changes)}i", *changes)
    # First the lowest byte of every number, then the next: the high bytes are nearly all alike, and compress well.
    planes = b"".join(content[byte::_SIZE] for byte in range(_SIZE))
    return f"{len(marks)}:{base64.b64encode(zlib.compress(planes, 9)).decode()}"


def unpack_blocks(packed: object) -> tuple[tuple[float, ...], ...] | None:
    """The losses that `pack_blocks` packed, for each mark; None if it is not what it wrote."""
    if not isinstance(packed, str):
        return None
    count, _, encoded = packed.partition(":")
    try:
        planes = zlib.decompressobj().decompress(base64.b64decode(encoded, validate=True), _MAX_BYTES)
        length, rows = len(planes) // _SIZE, int(count)
        content = bytearray(length * _SIZE)
        for byte in range(_SIZE):
            content[byte::_SIZE] = planes[byte * length : (byte + 1) * length]
        changes = struct.unpack(f"<{length}i", content)
        if rows < 1 or not length or length % rows:
            return None
        width = length // rows
        columns = [accumulate(changes[block::width]) for block in range(width)]
        return tuple(tuple(map(_to_loss, mark)) for mark in zip(*columns, strict=True))
    except (ValueError, struct.error, binascii.Error, zlib.error):
        return None


def pack_answers(correct: str) -> str:
    """Pack a string of 0 and 1 per example: `10042:` and its bits as base64; any other string stays as it is."""
    if not correct or set(correct) - {"0", "1"}:
        return correct
    bits = int(correct, 2).to_bytes((len(correct) + 7) // 8, "big")
    return f"{len(correct)}:{base64.b64encode(bits).decode()}"


def unpack_answers(packed: str) -> str:
    """The string that `pack_answers` packed; any other string stays as it is."""
    count, separator, encoded = packed.partition(":")
    if not separator:
        return packed
    try:
        bits = base64.b64decode(encoded, validate=True)
        correct = f"{int.from_bytes(bits, 'big'):0{min(int(count), 8 * len(bits))}b}"
    except (ValueError, binascii.Error):
        return packed
    return correct if len(correct) == int(count) else packed

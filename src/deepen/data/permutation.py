"""A random order of the numbers 0 to count - 1, computed for any position and never stored.

The order of the windows of 100 billion tokens would take 0.8 GB as an array. Here the number at a position is the
position, encrypted: a Feistel network splits its bits into two halves and, in each round, XORs one half with a
hash of the other. That can be undone, so no two positions get the same number. A result that is not below `count`
is encrypted again until it is ("cycle walking"):

    permute(3) of 10 numbers, as 4 bits, with seed 0 and turn 0:    3 → 15 → 0    15 is too large

Source: Luby & Rackoff 1988; Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section 3.
"""

import hashlib
import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
"""The multipliers of MurmurHash3's finalizer."""


def permute(positions: NDArray[np.int64], count: int, seed: int, turn: int) -> NDArray[np.int64]:
    """The numbers at positions of a random order of 0 to count - 1.

    The same arguments give the same numbers for all time, on every machine.

    Args:
        positions: each from 0 to count - 1.
        count: how many numbers are ordered, at least 1.
        seed, turn: together they choose the order.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    keys = _make_keys(seed, turn)
    numbers = _encrypt(positions.astype(np.uint64), half, keys)
    while (outside := numbers >= count).any():
        numbers[outside] = _encrypt(numbers[outside], half, keys)
    return numbers.astype(np.int64)


def _encrypt(numbers: NDArray[np.uint64], half: int, keys: tuple[np.uint64, ...]) -> NDArray[np.uint64]:
    """A permutation of the numbers of 2 x `half` bits."""
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = numbers >> bits, numbers & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << bits) | right


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """MurmurHash3's finalizer: every bit of the result depends on every bit of the number."""
    shift = np.uint64(33)
    numbers = (numbers ^ (numbers >> shift)) * _FIRST
    numbers = (numbers ^ (numbers >> shift)) * _SECOND
    return numbers ^ (numbers >> shift)


@lru_cache(maxsize=16)
def _make_keys(seed: int, turn: int) -> tuple[np.uint64, ...]:
    digest = hashlib.blake2b(f"{seed} {turn}".encode(), digest_size=8 * _ROUNDS).digest()
    return tuple(np.uint64(key) for key in struct.unpack(f"<{_ROUNDS}Q", digest))

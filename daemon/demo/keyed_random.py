"""Pseudo-random numbers that depend on a key alone.

A replay must be the same in every run, and must always give the same answer about a bar. The
numbers of a generator with a state depend on the calls before.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_BITS_64 = 2**64 - 1


def scrambled(keys: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Return 64 pseudo-random bits for each key: the finaliser of SplitMix64.

    Args:
        keys: Keys of any shape; the result has the same: shape (n,) gives shape (n,).
        salt: Different salts give independent numbers.
    """
    x = keys.astype(np.uint64) + np.uint64(salt * _GOLDEN & _BITS_64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def unit(keys: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """Return uniform numbers from 0 to 1 in the shape of the keys: (n,) gives (n,)."""
    return (scrambled(keys, salt) >> np.uint64(11)) / np.float64(2**53)


def between(where: NDArray[np.float64], limits: tuple[int, int]) -> NDArray[np.int64]:
    """Scale numbers from 0 to 1, shape (n,), to whole numbers within `limits`, shape (n,)."""
    low, high = limits
    return (low + where * (high - low)).astype(np.int64)

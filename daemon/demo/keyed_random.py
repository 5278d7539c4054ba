"""Numbers that look random and depend on nothing but a key: replays need no seed.

A replay has to be the same from run to run, and has to say the same of a bar whether it
is asked early or late, from the front or from the middle. A generator of numbers with a
state can do neither.
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_BITS_64 = 2**64 - 1


def scrambled(keys: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Return 64 random-looking bits a key: the finaliser of SplitMix64.

    Args:
        keys: Any shape.
        salt: Another one gives numbers that have nothing to do with these.
    """
    x = keys.astype(np.uint64) + np.uint64(salt * _GOLDEN & _BITS_64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def unit(keys: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """Return numbers in 0..1, uniform, one a key."""
    return (scrambled(keys, salt) >> np.uint64(11)) / np.float64(2**53)


def between(where: NDArray[np.float64], limits: tuple[int, int]) -> NDArray[np.int64]:
    """Stretch numbers in 0..1 over whole numbers in `limits`."""
    low, high = limits
    return (low + where * (high - low)).astype(np.int64)

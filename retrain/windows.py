"""Statistics over trailing windows, exactly the same for any length of history.

The live daemon computes features on the last few hundred bars, training on months of bars.
Running sums and recursive averages would carry rounding errors from the first bar, so the two
would differ. Here each window is computed from its own bars alone, by joining windows of 1, 2, 4,
... bars. The bars before it do not matter, and it takes log2(window) passes over the array.

Time is the last axis everywhere, so that several columns can share the passes. A result is as
long as its input, with NaN until the window is full. A NaN in the input gives NaN in the windows
that contain it and in no other.
"""

from bisect import bisect_left, insort
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parts = tuple[Array, ...]

# Takes the parts of an older and of the adjacent newer window, and their lengths in bars.
Join = Callable[[Parts, Parts, int, int], Parts]


def mean(x: Array, window: int) -> Array:
    """Return the mean of the last `window` values, exact where they are all equal.

    Args:
        x: Shape (..., n).
        window: Length in bars.

    Returns:
        Shape (..., n), NaN in the first `window - 1` places.
    """
    return _slide((x,), window, _join_means)[0]


def codeviation(x: Array, window: int) -> Array:
    """Return the sums of (x_i - mean x_i)(x_j - mean x_j) over the last `window` values.

    Pairwise update of Chan, Golub and LeVeque (1979): no difference of large sums, so it
    is exactly 0 where x_i or x_j is constant in the window.

    Args:
        x: Shape (k, n).
        window: Length in bars.

    Returns:
        Shape (k, k, n), NaN in the first `window - 1` places.
    """
    k, n = x.shape
    return _slide((x, np.zeros((k, k, n))), window, _join_codeviations)[1]


def std(x: Array, window: int) -> Array:
    """Return the sample standard deviation (divisor `window - 1`) of the last `window` values.

    Args:
        x: Shape (n,).
        window: Length in bars.

    Returns:
        Shape (n,), NaN in the first `window - 1` places.
    """
    variance: Array = codeviation(x[np.newaxis], window)[0, 0] / (window - 1)
    return np.sqrt(variance)


def faded_sum(x: Array, keep: float, window: int) -> Array:
    """Return the sum of keep^k x(t - k) for k = 0 to `window - 1`; x is 0 before x(0).

    Args:
        x: Shape (n,).
        keep: Factor for each bar that a value is older, below 1.
        window: Length in bars.

    Returns:
        Shape (n,), known from the first bar on.
    """

    def join(older: Parts, newer: Parts, _: int, n_newer: int) -> Parts:
        return (newer[0] + keep**n_newer * older[0],)

    lead = np.zeros(window - 1)
    return _slide((np.concatenate((lead, x)),), window, join)[0][window - 1 :]


def median(x: Array, window: int) -> Array:
    """Return the median of the last `window` values, an even number of them.

    Args:
        x: Shape (n,), without NaN.
        window: Length in bars, even.

    Returns:
        Shape (n,), NaN in the first `window - 1` places.
    """
    out, values, half = np.full(len(x), np.nan), x.tolist(), window // 2
    ranked = sorted(values[: window - 1])
    for newest in range(window - 1, len(values)):
        insort(ranked, values[newest])
        out[newest] = (ranked[half - 1] + ranked[half]) / 2
        del ranked[bisect_left(ranked, values[newest - window + 1])]
    return out


def _slide(bars: Parts, window: int, join: Join) -> Parts:
    """Join single bars into every window of `window` bars."""
    if bars[0].shape[-1] < window:
        return tuple(np.full_like(part, np.nan) for part in bars)
    whole, n_whole = bars, 0
    block, n_block = bars, 1
    while True:
        if window & n_block:
            whole = _adjacent(whole, block, n_whole, n_block, join) if n_whole else block
            n_whole += n_block
        if n_whole == window:
            return tuple(_late(part, window - 1) for part in whole)
        block = _adjacent(block, block, n_block, n_block, join)
        n_block *= 2


def _adjacent(older: Parts, newer: Parts, n_older: int, n_newer: int, join: Join) -> Parts:
    """Join each window with the one that begins where it ends; place i is its oldest bar."""
    n = newer[0].shape[-1] - n_older
    shifted = tuple(part[..., n_older:] for part in newer)
    return join(tuple(part[..., :n] for part in older), shifted, n_older, n_newer)


def _late(part: Array, bars: int) -> Array:
    """Put every window at its newest bar."""
    return np.concatenate((np.full((*part.shape[:-1], bars), np.nan), part), axis=-1)


def _join_means(older: Parts, newer: Parts, n_older: int, n_newer: int) -> Parts:
    step = newer[0] - older[0]
    step *= n_newer / (n_older + n_newer)
    step += older[0]
    return (step,)


def _join_codeviations(older: Parts, newer: Parts, n_older: int, n_newer: int) -> Parts:
    step = newer[0] - older[0]
    share = n_newer / (n_older + n_newer)
    products = step[:, np.newaxis] * step
    products *= n_older * share
    products += older[1]
    products += newer[1]
    step *= share
    step += older[0]
    return step, products

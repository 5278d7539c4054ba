"""How long to wait before trying again: longer each time, and never in step with others."""

import itertools
from collections.abc import Iterator
from random import Random


def delays(first_s: float, most_s: float, random: Random) -> Iterator[float]:
    """Yield waits in seconds for ever: doubling from `first_s` to `most_s`, each cut by up to half.

    The jitter keeps daemons that lost the same venue at once from returning at once.
    """
    for doubling in itertools.count():
        longest = min(most_s, first_s * 2.0 ** min(doubling, 30))
        yield longest * random.uniform(0.5, 1.0)

"""Decide which of several copies of a bar stays, and count what changed.

The same bar arrives more than once: pushed, confirmed, imported, filled in. Copies have a
total order, so the order of their arrival does not matter.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from daemon.core.bars import Bar, Provenance

RANK: Final = {provenance: rank for rank, provenance in enumerate(Provenance)}
"""How far each provenance is trusted; more is better."""


class PutResult(NamedTuple):
    """What `put_bars` did; `conflicts` are copies that differ and were not taken."""

    added: int = 0
    revised: int = 0
    same: int = 0
    conflicts: int = 0


class Stored(NamedTuple):
    """A bar as it stands in the table."""

    bar: Bar
    provenance: Provenance
    revisions: int

    def outweighs(self, other: "Stored") -> bool:
        """Whether this copy replaces the other; a total order, so arrival order does not matter."""
        return self.weight() > other.weight()

    def same_values(self, other: "Stored") -> bool:
        """Whether prices and volume are equal; the count of trades may be unknown."""
        return self.bar == msgspec.structs.replace(other.bar, n=self.bar.n)

    def weight(self) -> tuple[float, ...]:
        """Sort key: trust first, then volume, because a copy taken too early lacks trades."""
        bar = self.bar
        values = (bar.volume, bar.n, bar.open, bar.high, bar.low, bar.close)
        return (RANK[self.provenance], *values)


def merge(held: dict[int, Stored], new: Iterable[Stored]) -> PutResult:
    """Merge `new` into `held` (by t) and count."""
    added = revised = same = conflicts = 0
    for copy in new:
        old = held.get(copy.bar.t)
        if old is None:
            held[copy.bar.t] = copy
            added += 1
        elif copy.same_values(old):
            same += 1
            if copy.outweighs(old):
                held[copy.bar.t] = copy._replace(revisions=old.revisions)
        elif copy.outweighs(old):
            held[copy.bar.t] = copy._replace(revisions=old.revisions + 1)
            revised += 1
        else:
            conflicts += 1
    return PutResult(added, revised, same, conflicts)

"""What imports answer: what one did, what there is of each, and what was forgotten."""

from typing import NamedTuple

from daemon.core.times import utc
from daemon.store.bar_columns import BarColumns, Overlap
from daemon.store.bar_merge import PutResult
from daemon.store.imported.bars import RunEnds
from daemon.store.imported.sources import FUNDING


class Imported(NamedTuple):
    """What an import did.

    Attributes:
        name: The name of the source, which forgets it.
        counts: How many rows were added, replaced, there already, or outranked by the venue's.
        overlap: Comparison of bars with those that were in force.
    """

    name: str
    counts: PutResult
    overlap: Overlap


class StoredSource(NamedTuple):
    """An import as a person sees it.

    Attributes:
        name: Its name.
        kind: `bars` or `funding`.
        at_ms: When it was imported, ms UTC.
        first_t: Its first bar or rate, ms UTC; None if nothing of it is left.
        last_t: Its last one.
        rows: How many it has.
        in_force: How many of them are in force; better or newer copies outrank the others.
        is_checked: Whether it was compared with what the venue still served.
    """

    name: str
    kind: str
    at_ms: int
    first_t: int | None
    last_t: int | None
    rows: int
    in_force: int
    is_checked: bool

    def __str__(self) -> str:
        """Return the import as a line."""
        what = "rates" if self.kind == FUNDING else "bars"
        ends = [t for t in (self.first_t, self.last_t) if t is not None]
        span = f" from {' to '.join(map(utc, ends))}" if ends else ""
        imported = f"imported {utc(self.at_ms)} UTC"
        return f"{self.name}: {self.rows} {what}{span}, {imported}; {self.in_force} in force"


class Forgotten(NamedTuple):
    """What was forgotten.

    Attributes:
        names: The imports that lost rows.
        rows: How many rows they lost.
        in_force: How many of those were in force.
        ends: The last bar of each run that was in force: open time, ms UTC, and close.
    """

    names: tuple[str, ...]
    rows: int
    in_force: int
    ends: RunEnds


class ImportedPart(NamedTuple):
    """Bars in force of one import.

    Attributes:
        number: The number of the import.
        name: Its name.
        bars: The bars.
        last_t: The last bar of the whole import, ms UTC.
    """

    number: int
    name: str
    bars: BarColumns
    last_t: int


class RatesAgainst(NamedTuple):
    """Rates of one import against the venue's: the largest difference is at `worst_ms`, ms UTC."""

    name: str
    compared: int
    differ: int
    worst_ms: int
    rate: float
    venue: float

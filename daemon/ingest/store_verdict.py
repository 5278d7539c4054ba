"""Check the stored bars of a slot, and name for each problem the command that mends it.

Nothing here writes to the store, so all of it may run while the daemon runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from daemon.core.bars import Bar, Provenance
from daemon.core.times import utc
from daemon.ingest.store_report import backfill_command
from daemon.market_data.price_checks import FACTOR
from daemon.store.bar_columns import BarColumns, Overlap, compare
from daemon.store.bar_merge import RANK
from daemon.store.bar_table import HeldColumns
from daemon.store.imported.forget_command import forget_command, forget_span_command
from daemon.store.imported.sources import BARS
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

_SHOWN: Final = 5
_OFF_GRID: Final = "it does not open on the grid of its interval"
_RESTORE: Final = (
    "stop the daemon and put a backup in its place, or start it: it sets the file aside"
)
_OWNERS: Final = {
    RANK[Provenance.REST]: "the venue",
    RANK[Provenance.STREAM]: "the venue's stream",
    RANK[Provenance.FILLED]: "a filled bar",
}


class StoreProblem(NamedTuple):
    """What is wrong, and the one command, or what else to do, that mends it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class StoreVerdict:
    """The result of `verify`; `venue` and `lacking` are None if the venue was not asked.

    `lacking` counts bars that the venue has and the store lacks; `remedies` has what mends each
    of the problems, in their order.
    """

    slot: str
    bars: int
    provenance: dict[str, int]
    problems: tuple[str, ...]
    remedies: tuple[str, ...]
    venue: Overlap | None
    lacking: int | None
    unasked: str = ""

    @property
    def sound(self) -> bool:
        """Whether no problem was found; a venue that was not asked is no problem."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {"sound": self.sound, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """Yield the result as lines for a person; the last ones are the remedies."""
        shares = ", ".join(f"{n} {name}" for name, n in sorted(self.provenance.items()))
        yield f"{self.slot}: {self.bars} bars ({shares or 'none'})"
        if self.venue:
            yield f"  {self.venue.equal} equal the venue's, {self.venue.differ} differ"
        if self.unasked:
            yield f"  not compared with the venue: {self.unasked}"
        for problem in self.problems or ("nothing is wrong",):
            yield f"  {problem}"
        for example in self.venue.examples if self.venue else ():
            yield f"    {example}"
        for remedy in dict.fromkeys(self.remedies):
            yield f"  to mend it: {remedy}"


def damaged(slot: SlotName, why: str) -> StoreVerdict:
    """Return the result for a database that cannot be read."""
    return StoreVerdict(str(slot), 0, {}, (why,), (_RESTORE,), None, None)


def verify(
    store: Store, slot: SlotName, venue: Sequence[Bar] | None, unasked: str = ""
) -> StoreVerdict:
    """Check the database file and the stored bars, and compare the bars with the venue's.

    Args:
        store: The store.
        slot: The slot of the bars.
        venue: The venue's closed bars within reach, oldest first; None if it was not asked.
        unasked: Why it was not asked.
    """
    fault = store.fault()
    problems = [StoreProblem(f"the database is damaged: {fault}", _RESTORE)] if fault else []
    found = _Checked(slot, store.columns(slot), store.imports.names(slot))
    problems += [*found.impossible(), *found.jumps()]
    overlap = lacking = None
    if venue is not None and len(found.bars):
        served = BarColumns.of(venue)
        overlap, differing = found.against(served)
        problems += differing
        # Bars before the first and after the last stored bar do not count as missing.
        inside = (served.t >= found.bars.t[0]) & (served.t <= found.bars.t[-1])
        lacking = int((inside & ~np.isin(served.t, found.bars.t)).sum())
        if lacking:
            text = f"{lacking} bars that the venue has are missing"
            problems.append(StoreProblem(text, backfill_command(slot)))
    return StoreVerdict(
        slot=str(slot),
        bars=len(found.bars),
        provenance=found.shares(),
        problems=tuple(problem.text for problem in problems),
        remedies=tuple(problem.remedy for problem in problems),
        venue=overlap,
        lacking=lacking,
        unasked=unasked,
    )


class _Checked:
    """The bars of a slot, and what is wrong with them."""

    def __init__(self, slot: SlotName, held: HeldColumns, names: dict[int, str]) -> None:
        self.slot, self.held, self.bars, self._names = slot, held, held.bars, names

    def shares(self) -> dict[str, int]:
        """Return how many bars there are of each provenance."""
        counts = {p.value: int((self.held.rank == rank).sum()) for p, rank in RANK.items()}
        return {name: count for name, count in counts.items() if count}

    def impossible(self) -> list[StoreProblem]:
        """Return the first bars with impossible numbers."""
        faults = self.bars.faults() | {_OFF_GRID: self.bars.t % self.slot.interval_ms != 0}
        broken = np.flatnonzero(np.any(list(faults.values()), axis=0))
        found = []
        for k in broken[:_SHOWN].tolist():
            t, why = int(self.bars.t[k]), next(why for why, bad in faults.items() if bad[k])
            text = f"the bar of {utc(t)} (t={t}), of {self._owner(k)}: {why}"
            found.append(StoreProblem(text, self._forget([k]) or forget_span_command(self.slot, t)))
        return found + self._more(len(broken), "such bars", found)

    def jumps(self) -> list[StoreProblem]:
        """Return where the price jumps fivefold, unless the venue confirmed both neighbours."""
        bars, sure = self.bars, self.held.rank == RANK[Provenance.REST]
        before = bars.close[:-1]
        with np.errstate(over="ignore", invalid="ignore"):
            far = (bars.low[1:] < before / FACTOR) | (bars.high[1:] > before * FACTOR)
        sound = ~np.any(list(bars.faults().values()), axis=0)
        at = np.flatnonzero(far & ~(sure[:-1] & sure[1:]) & sound[:-1] & sound[1:])
        found = []
        for k in at[:_SHOWN].tolist():
            text = (
                f"the price jumps from {before[k]:g} (of {self._owner(k)}) to {bars.low[k + 1]:g}.."
                f"{bars.high[k + 1]:g} (of {self._owner(k + 1)}) at {utc(int(bars.t[k + 1]))}:"
                " likely another coin"
                " or another unit"
            )
            found.append(
                StoreProblem(text, self._forget([k, k + 1]) or backfill_command(self.slot))
            )
        return found + self._more(len(at), "such jumps", found)

    def against(self, served: BarColumns) -> tuple[Overlap, list[StoreProblem]]:
        """Compare confirmed and imported bars with the venue's; a problem for each source."""
        trusted = self.held.part(self.held.rank >= RANK[Provenance.IMPORT])
        whole, found = compare(trusted.bars, served), []
        for source in np.unique(trusted.source).tolist():
            part = compare(trusted.bars.part(trusted.source == source), served)
            if part.differ:
                whose = f" (of {self._names.get(source, 'an import')})" if source else ""
                text = f"{part.differ} bars differ from the venue's{whose}: {part.largest}"
                remedy = self._forget_source(source) if source else backfill_command(self.slot)
                found.append(StoreProblem(text, remedy))
        return whole, found

    def _owner(self, k: int) -> str:
        source = int(self.held.source[k])
        return self._names.get(source, "an import") if source else _OWNERS[int(self.held.rank[k])]

    def _forget(self, which: list[int]) -> str:
        """Return the command that forgets the newest import among these bars, "" without any."""
        newest = max(int(self.held.source[k]) for k in which)
        return self._forget_source(newest) if newest else ""

    def _forget_source(self, source: int) -> str:
        return forget_command(self.slot, BARS, self._names.get(source, ""))

    def _more(self, count: int, what: str, found: list[StoreProblem]) -> list[StoreProblem]:
        left = count - len(found)
        return [StoreProblem(f"and {left} more {what}", found[-1].remedy)] if left else []

"""Import bars and funding as sources, list them, and forget them as if they never had been.

A person may import the file of another coin or of another unit. So every import keeps its own
rows, and nothing that it covers is lost (`daemon.store.imported.bars`, `.rates`).
"""

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Funding, Provenance
from daemon.store import bar_table
from daemon.store.bar_columns import BarColumns, Overlap
from daemon.store.bar_merge import RANK, PutResult
from daemon.store.database import Database
from daemon.store.imported import bars as layers
from daemon.store.imported import rates
from daemon.store.imported import sources as sources_table
from daemon.store.imported.bars import RunEnds
from daemon.store.imported.rates import Rates
from daemon.store.imported.results import (
    Forgotten,
    Imported,
    ImportedPart,
    RatesAgainst,
    StoredSource,
)
from daemon.store.imported.sources import BARS, FUNDING, ImportSource, Scope, Tally
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS, SlotName

Flows = Sequence[tuple[float, ...]]

_ALL: Final = (-(2**62), 2**62)


class Imports:
    """The imports in one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put_bars(
        self, slot: SlotName, bars: BarColumns, name: str, at_ms: int, *, flows: Flows = ()
    ) -> Imported:
        """Store the bars of a file as a source of their own, all or none.

        It outranks what was pushed or filled in and every older import, as a whole; the venue's
        confirmed bars outrank it. The same rows under the same name are the same source.

        Args:
            slot: Whose bars.
            bars: The bars.
            name: The name of the file.
            at_ms: The present time, ms UTC.
            flows: The cohort flow of these bars: t, s_top, s_bot and the volume that was seen.

        Raises:
            BadInput: If a bar's numbers are impossible; nothing is stored then.
            StoreUnavailable: If the disk is full or the file not writable.
        """
        if fault := bars.fault():
            raise BadInput(f"the {slot} {fault}")
        if not len(bars):
            return Imported(name, PutResult(), Overlap())
        scope, digest = Scope.of(slot, BARS), bars.digest() + _digest(flows)
        with self._db.writing() as connection:
            place = sources_table.claim(self._db, scope, name, digest)
            again = None
            if (before := place.before) is not None:
                again = layers.outlook(self._db, slot, bars)
                stored = layers.count(self._db, slot, before.id)
                if place.is_newest and stored == len(bars):
                    sources_table.touch(connection, before.id, at_ms)
                    return Imported(place.name, *again)
                self._remove(connection, scope, [before])
            done = layers.put(self._db, connection, slot, bars, place.id)
            rates.put_flow(connection, slot, place.id, flows)
            new = ImportSource(place.id, place.name, at_ms, digest, len(bars), is_checked=False)
            sources_table.write(connection, scope, new)
        return Imported(place.name, *(again or done))

    def put_funding(self, coin: str, new: Rates, name: str, at_ms: int) -> Imported:
        """Store the rates of a file as a source of their own; the venue's rates outrank it.

        Raises:
            BadInput: If a rate is impossible; nothing is stored then.
            StoreUnavailable: If the disk is full or the file not writable.
        """
        rows = list(zip(new.time.tolist(), new.rate.tolist(), strict=True))
        for rate in map(Funding._make, rows):
            if fault := rate.fault():
                raise BadInput(f"the {coin} funding of {rate.time} cannot be stored: {fault}")
        if not rows:
            return Imported(name, PutResult(), Overlap())
        scope = Scope(FUNDING, coin, "")
        digest = _digest(rows)
        with self._db.writing() as connection:
            counts = self.funding_outlook(coin, new)
            place = sources_table.claim(self._db, scope, name, digest)
            if place.before is not None:
                self._remove(connection, scope, [place.before])
            rates.put_rates(connection, coin, place.id, new)
            source = ImportSource(place.id, place.name, at_ms, digest, len(rows), is_checked=False)
            sources_table.write(connection, scope, source)
        return Imported(place.name, counts, Overlap())

    def outlook(self, slot: SlotName, bars: BarColumns) -> tuple[PutResult, Overlap]:
        """Count what importing these bars would do, and compare them with those in force."""
        return layers.outlook(self._db, slot, bars)

    def funding_outlook(self, coin: str, new: Rates) -> PutResult:
        """Count what importing these rates would do; two rates of one hour are the same rate."""
        first, last = int(new.time.min()), int(new.time.max())
        there = rates.rates(self._db, coin, first - HOUR_MS, last + HOUR_MS)
        hours, of_hour = np.unique(there.time // HOUR_MS, return_index=True)
        known = np.isin(new.time // HOUR_MS, hours)
        at = of_hour[np.searchsorted(hours, new.time[known] // HOUR_MS)]
        same, confirmed = there.rate[at] == new.rate[known], there.source[at] == 0
        return PutResult(
            added=int((~known).sum()),
            revised=int((~same & ~confirmed).sum()),
            same=int(same.sum()),
            conflicts=int((~same & confirmed).sum()),
        )

    def sources(self, slot: SlotName) -> list[StoredSource]:
        """Return the imports of a slot's bars, then of its coin's funding, oldest first each."""
        listed = []
        for kind in (BARS, FUNDING):
            scope = Scope.of(slot, kind)
            known = sources_table.known(self._db, scope)
            tally = _tally(self._db, scope) if known else {}
            for source in known:
                has = tally.get(source.id, Tally())
                named = (source.name, kind, source.at_ms, has.first_t, has.last_t)
                listed.append(StoredSource(*named, has.rows, has.in_force, source.is_checked))
        return listed

    def names(self, slot: SlotName) -> dict[int, str]:
        """Return the names of the imports of a slot's bars by their number."""
        return {s.id: s.name for s in sources_table.known(self._db, Scope.of(slot, BARS))}

    def unchecked(self, slot: SlotName, from_t: int) -> list[ImportedPart]:
        """Return the bars since `from_t`, ms UTC, of imports not yet held against the venue."""
        scope = Scope.of(slot, BARS)
        waiting = [s for s in sources_table.known(self._db, scope) if not s.is_checked]
        if not waiting:
            return []
        held, tally = bar_table.columns(self._db, slot, from_t, _ALL[1]), _tally(self._db, scope)
        parts = [(source, held.part(held.source == source.id).bars) for source in waiting]
        return [
            ImportedPart(source.id, source.name, bars, tally[source.id].last_t or 0)
            for source, bars in parts
            if len(bars)
        ]

    def mark_checked(self, slot: SlotName, parts: Iterable[ImportedPart]) -> None:
        """Note that these imports were held against the venue."""
        scope = Scope.of(slot, BARS)
        sources_table.mark_checked(self._db, scope, [part.number for part in parts])

    def sure_times(self, slot: SlotName, from_t: int, to_t: int) -> NDArray[np.int64]:
        """Return the open times of bars that need not be asked for, shape (n_bars,).

        The venue confirmed them, or an import that was held against the venue has them.

        Args:
            slot: The slot.
            from_t: First open time, ms UTC, inclusive.
            to_t: Last open time, ms UTC, inclusive.
        """
        held = bar_table.columns(self._db, slot, from_t, to_t)
        known = sources_table.known(self._db, Scope.of(slot, BARS))
        checked = [source.id for source in known if source.is_checked]
        sure = (held.rank == RANK[Provenance.REST]) | np.isin(held.source, checked)
        times: NDArray[np.int64] = held.bars.t[sure]
        return times

    def rates_against(self, coin: str, venue: Sequence[Funding]) -> list[RatesAgainst]:
        """Compare the rates of imports that are in force with the venue's of the same hours."""
        if not venue:
            return []
        there = rates.rates(self._db, coin, venue[0].time - HOUR_MS, venue[-1].time + HOUR_MS)
        at_venue = {rate.time // HOUR_MS: rate.rate for rate in venue}
        found = []
        for source in sources_table.known(self._db, Scope(FUNDING, coin, "")):
            own = [
                (time, rate, at_venue[time // HOUR_MS])
                for time, rate, number in zip(*(c.tolist() for c in there), strict=True)
                if number == source.id and time // HOUR_MS in at_venue
            ]
            if own:
                worst = max(own, key=lambda row: abs(row[1] - row[2]))
                differ = sum(rate != venues for _, rate, venues in own)
                found.append(RatesAgainst(source.name, len(own), differ, *worst))
        return found

    def forget(
        self,
        scope: Scope,
        name: str | None = None,
        from_t: int = _ALL[0],
        to_t: int = _ALL[1],
    ) -> Forgotten:
        """Remove imported rows; the store is then as if it never had them.

        From a span also bars with impossible numbers go, whosever they are.

        Args:
            scope: Whose rows.
            name: Only this import's.
            from_t: Only from this open time or settlement on, ms UTC.
            to_t: Only up to this one, inclusive.

        Raises:
            BadInput: If there is no such import.
            StoreUnavailable: If the disk is full or the file not writable.
        """
        with self._db.writing() as connection:
            known = sources_table.known(self._db, scope)
            chosen = [source for source in known if name in {None, source.name}]
            broken = 0
            if name is None and scope.kind == BARS and from_t > _ALL[0]:
                slot = SlotName(scope.coin, scope.interval)
                broken = layers.remove_impossible(self._db, connection, slot, from_t, to_t)
            if not chosen and not broken:
                named = ", ".join(source.name for source in known) or "none"
                asked = "" if name is None else f"--source {name}: "
                raise BadInput(f"{asked}{scope} has no such import; there is: {named}")
            gone = self._remove(connection, scope, chosen, (from_t, to_t))
        return gone._replace(rows=gone.rows + broken, in_force=gone.in_force + broken)

    def forget_fills(self, slot: SlotName, ends: RunEnds) -> int:
        """Remove filled bars whose price came from forgotten bars; return how many."""
        return layers.remove_fills(self._db, slot, ends)

    def _remove(
        self,
        connection: sqlite3.Connection,
        scope: Scope,
        chosen: Collection[ImportSource],
        span: tuple[int, int] = _ALL,
    ) -> Forgotten:
        ends: RunEnds = ()
        before, numbers = _tally(self._db, scope), [source.id for source in chosen]
        if scope.kind == BARS:
            slot = SlotName(scope.coin, scope.interval)
            ends = layers.remove(connection, slot, numbers, *span)
            rates.remove_flow(connection, slot, numbers, *span)
        else:
            rates.remove_rates(connection, scope.coin, numbers, *span)
        after, rows, in_force, names = _tally(self._db, scope), 0, 0, []
        for source in chosen:
            had, has = before.get(source.id, Tally()), after.get(source.id, Tally())
            rows, in_force = rows + had.rows - has.rows, in_force + had.in_force - has.in_force
            if had.rows != has.rows:
                names.append(source.name)
            if not has.rows:
                sources_table.remove(connection, source.id)
        return Forgotten(tuple(names), rows, in_force, ends)


def _tally(db: Database, scope: Scope) -> dict[int, Tally]:
    if scope.kind == BARS:
        return layers.tally(db, SlotName(scope.coin, scope.interval))
    return rates.tally(db, scope.coin)


def _digest(rows: Iterable[tuple[float, ...]]) -> str:
    return hashlib.blake2b(repr(list(rows)).encode(), digest_size=16).hexdigest()

"""Read and write bars, funding, order flow, gaps and the journal.

A start rebuilds everything from this database. So a write is stored completely or not at all,
and the order in which copies of a bar arrive does not matter: `daemon.store.bar_merge` decides
which copy stays.

One process writes, through one `Store`; others open it with `read_only`.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

import msgspec
import numpy as np
import structlog

from daemon.core.bars import Bar, Funding, Hole, Provenance
from daemon.core.errors import StoreCorrupt
from daemon.store import bar_table, journal_pages, journal_table
from daemon.store.bar_columns import BarColumns
from daemon.store.bar_merge import RANK, PutResult, Stored
from daemon.store.bar_table import HeldColumns
from daemon.store.database import Database, set_aside
from daemon.store.feature_frame import Columns, Flow, flow_columns, funding_column, usable
from daemon.store.imported.imports import Imports
from daemon.store.imported.rates import rates as rates_in_force
from daemon.store.journal_table import JournalEntry, StoredPrediction
from daemon.store.repair import recover_rows
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

_MIN_INT, _MAX_INT = -(2**62), 2**62
_PRICES: Final = ("open", "high", "low", "close", "volume")


class Store:
    """The database file, or `":memory:"`; every method may be called from any thread."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open, check and if needed create the database.

        Args:
            path: The file, or `":memory:"`.
            read_only: Open beside the daemon that writes it.

        Raises:
            StoreCorrupt: If the file is damaged or no database.
            BadInput: If a newer hyperdrift wrote it, or `read_only` and it is not there.
            StoreUnavailable: If it cannot be opened.
        """
        self._db = Database(path, read_only=read_only)

    @classmethod
    def open_or_rebuild(cls, path: Path | str) -> Self:
        """Open; rename a damaged file to `<name>.corrupt-<n>` and copy what can be read of it.

        Raises:
            BadInput: If a newer hyperdrift wrote it.
            StoreUnavailable: If it cannot be opened or renamed.
        """
        try:
            return cls(path)
        except StoreCorrupt as e:
            aside = set_aside(Path(path))
            log.error("store.corrupt", why=str(e), set_aside=str(aside))  # noqa: TRY400 - no trace
            store = cls(path)
            log.warning("store.salvaged", rows=recover_rows(aside, store.database))
            return store

    def close(self) -> None:
        """Close the file; the last connection writes the write-ahead log into it."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def database(self) -> Database:
        """The file, for modules that keep a table of their own in it."""
        return self._db

    @property
    def imports(self) -> Imports:
        """What files brought, by source."""
        return Imports(self._db)

    # --- bars ---

    def put_bars(self, slot: SlotName, bars: Iterable[Bar], provenance: Provenance) -> PutResult:
        """Store bars, all or none, whatever is there already.

        Args:
            slot: Whose bars.
            bars: In any order; a t may occur more than once.
            provenance: Where all of them come from; bars of a file go through `imports`, by name.

        Raises:
            BadInput: If a bar's numbers are impossible; nothing is stored then.
            StoreUnavailable: If the disk is full or the file not writable.
        """
        new = [Stored(bar, provenance, 0) for bar in bars]
        for stored in new:
            if fault := stored.bar.fault():
                msg = f"the {slot} bar at t={stored.bar.t} cannot be stored: {fault}"
                raise BadInput(msg)
        if provenance is Provenance.IMPORT:
            bars_of = BarColumns.of(stored.bar for stored in new)
            return self.imports.put_bars(slot, bars_of, "unnamed", 0).counts
        return bar_table.put(self._db, slot, new) if new else PutResult()

    def newest_t(self, slot: SlotName, at_least: Provenance = Provenance.FILLED) -> int | None:
        """Return the open time, ms UTC, of the newest bar trusted that much; None without any."""
        trusted = [p.value for p in Provenance if RANK[p] >= RANK[at_least]]
        rows = self._db.read(
            "SELECT t FROM bars WHERE coin = ? AND interval = ? AND provenance IN"
            " (SELECT value FROM json_each(?)) ORDER BY t DESC LIMIT 1",
            (*slot, _json(trusted)),
        )
        return rows[0][0] if rows else None

    def oldest_t(self, slot: SlotName, from_t: int) -> int | None:
        """Return the open time of the oldest bar since `from_t`, ms UTC; None without any."""
        return bar_table.oldest_t(self._db, slot, from_t)

    def held(self, slot: SlotName, from_t: int, to_t: int) -> list[Stored]:
        """Return bars and their provenance, oldest first; open times in ms UTC, both inclusive."""
        return list(bar_table.held(self._db, slot, from_t, to_t).values())

    def count(self, slot: SlotName, before_t: int = _MAX_INT) -> int:
        """Return how many bars are stored, or how many that opened before a time, ms UTC."""
        return bar_table.count(self._db, slot, before_t)

    def columns(self, slot: SlotName) -> HeldColumns:
        """Return all bars of a slot as columns, with their trust and their source."""
        return bar_table.columns(self._db, slot, _MIN_INT, _MAX_INT)

    def bars(
        self,
        slot: SlotName,
        from_t: int | None = None,
        to_t: int | None = None,
        last: int | None = None,
    ) -> Columns:
        """Read bars, oldest first.

        Args:
            slot: Whose bars.
            from_t: First open time, ms UTC, inclusive.
            to_t: Last open time, ms UTC, inclusive.
            last: Only this number of the newest bars.

        Returns:
            t (int64), open, high, low, close, volume (float64), each of shape (n_bars,).
        """
        columns = self._db.read_columns(
            "SELECT t, open, high, low, close, volume FROM bars WHERE coin = ? AND interval = ?"
            " AND t BETWEEN ? AND ? ORDER BY t DESC LIMIT ?",
            (
                *slot,
                _MIN_INT if from_t is None else from_t,
                _MAX_INT if to_t is None else to_t,
                -1 if last is None else last,
            ),
            6,
        )
        # Milliseconds fit a float64 exactly for the next 285,000 years.
        columns = np.ascontiguousarray(columns[:, ::-1])
        return {"t": columns[0].astype(np.int64)} | dict(zip(_PRICES, columns[1:], strict=True))

    def frame(
        self,
        slot: SlotName,
        last: int | None = None,
        from_t: int | None = None,
        to_t: int | None = None,
    ) -> Columns:
        """Read what `retrain.features.compute` takes, oldest first.

        To score the bar at t, pass `to_t=t`: newer bars may be stored already.

        Args:
            slot: Whose bars.
            last: Only this number of the newest bars.
            from_t: First open time, ms UTC, inclusive.
            to_t: Last open time, ms UTC, inclusive.

        Returns:
            The columns of `bars`, and funding as known at each close (NaN before the first
            rate), s_top and s_bot (0 where no flow was recorded, NaN where too little of it
            was seen), each of shape (n_bars,). A bar with impossible numbers is left out.
        """
        return self.frame_of(slot, self.bars(slot, from_t, to_t, last))

    def frame_of(self, slot: SlotName, bars: Columns) -> Columns:
        """Return a frame, as `frame` does, of the bars in `bars`, columns of shape (n_bars,)."""
        frame = usable(bars)
        t = frame["t"]
        funding = {"funding": funding_column(self._db, slot, t)}
        return frame | funding | flow_columns(self._db, slot, t, frame["volume"])

    def missing(self, slot: SlotName, from_t: int | None = None) -> list[Hole]:
        """Return the holes between stored bars, oldest first."""
        return bar_table.holes(self._db, slot, _MIN_INT if from_t is None else from_t)

    def note_gap(self, slot: SlotName, gap: Hole) -> None:
        """Note bars that no source serves any more."""
        with self._db.writing() as db:
            db.execute("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?)", (*slot, *gap))

    def gaps(self, slot: SlotName) -> list[Hole]:
        """Return the noted gaps, oldest first."""
        rows = self._db.read(
            "SELECT from_t, to_t FROM gaps WHERE coin = ? AND interval = ? ORDER BY from_t", slot
        )
        return [Hole(*row) for row in rows]

    # --- funding and flow ---

    def put_funding(self, coin: str, rates: Iterable[Funding]) -> None:
        """Store settled rates, all or none; a later copy of a rate replaces it.

        Raises:
            BadInput: If a rate is impossible; nothing is stored then.
        """
        rates = list(rates)
        for rate in rates:
            if fault := rate.fault():
                raise BadInput(f"the {coin} funding of {rate.time} cannot be stored: {fault}")
        with self._db.writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO funding VALUES (?, ?, ?)",
                [(coin, rate.time, rate.rate) for rate in rates],
            )

    def funding(self, coin: str, from_ms: int, to_ms: int) -> list[Funding]:
        """Return the settled rates from `from_ms` to `to_ms`, both inclusive, oldest first."""
        found = rates_in_force(self._db, coin, from_ms, to_ms)
        return [Funding(*row) for row in zip(found.time.tolist(), found.rate.tolist(), strict=True)]

    def newest_funding_time(self, coin: str) -> int | None:
        """Return the time of the newest settled rate, ms UTC; None if there is none."""
        newest: int | None = self._db.read("SELECT max(time) FROM funding WHERE coin = ?", (coin,))[
            0
        ][0]
        return newest

    def oldest_funding_time(self, coin: str) -> int | None:
        """Return the time of the oldest settled rate, ms UTC; None if there is none."""
        oldest: int | None = self._db.read("SELECT min(time) FROM funding WHERE coin = ?", (coin,))[
            0
        ][0]
        return oldest

    def put_flow(self, slot: SlotName, flows: Iterable[Flow]) -> None:
        """Store the flow of bars, all or none; the copy that saw more volume stays."""
        with self._db.writing() as db:
            db.executemany(
                "INSERT INTO flow (coin, interval, t, s_top, s_bot, seen) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET s_top = excluded.s_top, s_bot = excluded.s_bot,"
                " seen = excluded.seen WHERE excluded.seen >= seen",
                [(*slot, *flow) for flow in flows],
            )

    def newest_flow_t(self, slot: SlotName) -> int | None:
        """Return the open time, ms UTC, of the newest bar with a flow; None if there is none."""
        query = "SELECT max(t) FROM flow WHERE coin = ? AND interval = ?"
        newest: int | None = self._db.read(query, slot)[0][0]
        return newest

    # --- journal ---

    def append_journal(
        self, slot: SlotName | None, at_ms: int, kind: str, body: dict[str, Any]
    ) -> int:
        """Append one event or decision; return its sequence number."""
        return journal_table.append(self._db, slot, at_ms, kind, body)

    def journal(
        self,
        slot: SlotName | None = None,
        after_seq: int = 0,
        kinds: Collection[str] | None = None,
        since_ms: int | None = None,
    ) -> Iterator[JournalEntry]:
        """Read entries in the order in which they were written.

        Args:
            slot: Only this slot's; None is all.
            after_seq: Only later ones.
            kinds: Only these.
            since_ms: Only those at this time or later, ms UTC.
        """
        return journal_table.read(self._db, slot, after_seq, kinds, since_ms)

    def journal_newest(
        self,
        slot: SlotName | None = None,
        *,
        kinds: Collection[str] | None = None,
        since_ms: int | None = None,
        before: int | None = None,
        limit: int = journal_pages.LONGEST_PAGE,
    ) -> list[JournalEntry]:
        """Read the newest entries, the newest first.

        Args:
            slot: Only this slot's; None is all, and those of the whole daemon.
            kinds: Only these; None is all but the scores of bars.
            since_ms: Only those at this time or later, ms UTC.
            before: Only those with a smaller `seq`.
            limit: At most so many, and never more than 200.
        """
        filters: dict[str, Any] = {"kinds": kinds, "since_ms": since_ms, "before": before}
        return journal_pages.newest_entries(self._db, slot, limit=limit, **filters)

    def predictions(self, slot: SlotName, from_t: int | None = None) -> Iterator[StoredPrediction]:
        """Read the predictions of the live model from the journal, oldest bar first."""
        return journal_table.predictions(self._db, slot, from_t)

    # --- the file ---

    def backup(self, path: Path) -> None:
        """Copy the whole database to a file, as of this moment.

        Raises:
            StoreUnavailable: If the copy cannot be written.
        """
        self._db.backup(path)

    def fault(self) -> str | None:
        """Check every page and index, for seconds; return the fault, None if there is none."""
        found: str = self._db.read("PRAGMA integrity_check(1)")[0][0]
        return None if found == "ok" else found


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

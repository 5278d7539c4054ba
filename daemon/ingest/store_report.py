"""Report gaps and faults in the stored bars of a slot, and export the bars.

Nothing here writes to the store, so all of it may run while the daemon runs.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from daemon.core.bars import REACH_BARS, Bar, Provenance
from daemon.core.times import utc
from daemon.store.bar_columns import BarColumns, Overlap, compare
from daemon.store.bar_merge import Stored
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_SHOWN_FAULTS: Final = 5
# So many of the newest bars may not be stored yet.
_BEHIND_BARS: Final = 3
_COLUMNS: Final = ("t", "open", "high", "low", "close", "volume", "n", "provenance")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive bars that are missing or not confirmed; `from_t` and `to_t` are in ms UTC."""

    kind: str
    from_t: int
    to_t: int
    bars: int
    remedy: str


def stretches(store: Store, slot: SlotName, now_ms: int) -> list[Stretch]:
    """List missing and unconfirmed stretches, oldest first, each with its remedy.

    The kinds are `missing` (no bar is stored), `filled` (filled bars), `pushed` (bars of the
    stream that REST never confirmed) and `behind` (from the newest bar to now).

    Args:
        store: The store.
        slot: The slot of the bars.
        now_ms: The present time, ms UTC.
    """
    held = store.held(slot, 0, 2**62)
    if not held:
        return []
    step, found = slot.interval_ms, [("missing", *hole) for hole in store.missing(slot)]
    weak = {Provenance.FILLED: "filled", Provenance.STREAM: "pushed"}
    for key, run in itertools.groupby(held, lambda copy: weak.get(copy.provenance)):
        times = [copy.bar.t for copy in run]
        if key:
            found += [(key, *ends) for ends in _runs(times, step)]
    newest, closed = held[-1].bar.t, now_ms // step * step - step
    if closed - newest > _BEHIND_BARS * step:
        found.append(("behind", newest + step, closed))
    reach_t = closed - (REACH_BARS - 1) * step
    return [
        Stretch(kind, first, last, (last - first) // step + 1, _remedy(slot, first, reach_t))
        for kind, first, last in sorted(found, key=lambda row: row[1])
    ]


def _runs(times: Sequence[int], step: int) -> list[tuple[int, int]]:
    """Return the first and the last open time of each run of consecutive bars."""
    cuts = [k for k in range(1, len(times)) if times[k] - times[k - 1] != step]
    return [(times[a], times[b - 1]) for a, b in itertools.pairwise([0, *cuts, len(times)])]


def _remedy(slot: SlotName, from_t: int, reach_t: int) -> str:
    if from_t >= reach_t:
        return f"hyperdrift backfill --coin {slot.coin} --interval {slot.interval}"
    return "out of the venue's reach: hyperdrift import a file or the venue's archive"


@dataclass(frozen=True, slots=True)
class StoreVerdict:
    """The result of `verify`; `venue` and `lacking` are None if the venue was not asked.

    `lacking` counts bars that the venue has and the store lacks.
    """

    slot: str
    bars: int
    provenance: dict[str, int]
    problems: tuple[str, ...]
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
        """Yield the result as lines for a person."""
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


def damaged(slot: SlotName, why: str) -> StoreVerdict:
    """Return the result for a database that cannot be read."""
    remedy = "stop the daemon and put a backup in its place, or start it: it sets the file aside"
    return StoreVerdict(str(slot), 0, {}, (f"{why}: {remedy}",), None, None)


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
    problems = [f"the database is damaged: {fault}"] if (fault := store.fault()) else []
    held = store.held(slot, -(2**62), 2**62)
    problems += _impossible(held, slot.interval_ms)
    overlap = lacking = None
    if venue is not None and held:
        sure = [copy for copy in held if copy.provenance in {Provenance.REST, Provenance.IMPORT}]
        overlap = compare(BarColumns.of(copy.bar for copy in sure), BarColumns.of(venue))
        times = {copy.bar.t for copy in held}
        # Bars before the first and after the last stored bar do not count as missing.
        ends = held[0].bar.t, held[-1].bar.t
        lacking = sum(ends[0] <= bar.t <= ends[1] and bar.t not in times for bar in venue)
        if overlap.differ:
            problems.append(f"{overlap.differ} bars differ from the venue's: {overlap.largest}")
        if lacking:
            problems.append(f"{lacking} bars that the venue has are missing: hyperdrift backfill")
    shares = Counter(copy.provenance.value for copy in held)
    return StoreVerdict(
        str(slot), len(held), dict(shares), tuple(problems), overlap, lacking, unasked
    )


def _impossible(held: Iterable[Stored], step: int) -> list[str]:
    found = []
    for bar in (copy.bar for copy in held):
        fault = bar.fault() or (bar.t % step and "it does not open on the grid of its interval")
        if fault:
            found.append(f"the bar of {utc(bar.t)} (t={bar.t}): {fault}")
    more = [f"and {len(found) - _SHOWN_FAULTS} more such bars"] if found[_SHOWN_FAULTS:] else []
    return found[:_SHOWN_FAULTS] + more


def export(store: Store, slot: SlotName, path: Path) -> int:
    """Write all bars of a slot to a file that `import` reads back exactly; return how many.

    Raises:
        BadInput: If the suffix names no format, no bars are stored, or the file cannot be
            written.
    """
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, and other commands do not need it

    held = store.held(slot, 0, 2**62)
    if not held:
        raise BadInput(f"{slot} has no bars stored; hyperdrift import or backfill some")
    rows = [(*_values(copy.bar), copy.provenance.value) for copy in held]
    table = pd.DataFrame(rows, columns=pd.Index(_COLUMNS))
    aside = path.with_name(f".{path.name}.part")
    writers: dict[str, Callable[[], object]] = {
        ".csv": lambda: table.to_csv(aside, index=False),
        ".parquet": lambda: table.to_parquet(aside, index=False),
        ".feather": lambda: table.to_feather(aside),
    }
    if path.suffix not in writers:
        raise BadInput(f"{path} is none of {', '.join(writers)}: name the file so")
    try:
        writers[path.suffix]()
        aside.replace(path)
    except OSError as e:
        aside.unlink(missing_ok=True)
        raise BadInput(f"{path} cannot be written ({e.strerror}): name another place") from e
    return len(held)


def _values(bar: Bar) -> tuple[float, ...]:
    return bar.t, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.n

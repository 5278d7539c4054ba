"""Hold imports against what the venue serves, and tell where they differ.

A file may be of another coin or of another unit, and the last bar of a dump may have been
open. So at the first start after an import the venue is asked for the imported bars that it
still serves. Its bars are taken, and a person hears of differences.
"""

from collections.abc import Sequence

import structlog

from daemon.core.bars import Alarm, Bar, Funding, Hole
from daemon.core.times import utc
from daemon.store.async_store import AsyncStore
from daemon.store.bar_columns import BarColumns, compare
from daemon.store.imported.forget_command import forget_command
from daemon.store.imported.results import ImportedPart
from daemon.store.imported.sources import BARS, FUNDING
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


def tell_bars(
    slot: SlotName, parts: Sequence[ImportedPart], venue: Sequence[Bar], alarm: Alarm
) -> None:
    """Tell for each import how many of its bars differ from the venue's.

    Args:
        slot: The slot.
        parts: Imported bars that are in force, by import.
        venue: The venue's closed bars of the same time, ascending.
        alarm: Tells a person.
    """
    served = BarColumns.of(venue)
    for part in parts if venue else ():
        reached = part.bars.part((part.bars.t >= served.t[0]) & (part.bars.t <= served.t[-1]))
        found = compare(served, reached)
        # The last bar of a dump may have been open: it alone proves nothing.
        last = compare(served, reached.part(reached.t == part.last_t)).differ
        strangers = len(reached) - found.equal - found.differ
        counts = {"bars": len(reached), "differ": found.differ, "unknown": strangers}
        if found.differ - last <= 0 and not strangers:
            log.info("feed.import_agrees", slot=str(slot), source=part.name, **counts)
            continue
        worst = f"; the largest difference is {found.largest}" if found.largest else ""
        extra = f"; {strangers} the venue does not have" if strangers else ""
        text = (
            f"{found.differ} of {len(reached)} bars of {slot} that {part.name} brought differ from"
            f" the venue's, which were taken{extra}{worst}"
        )
        hole = Hole(int(reached.t[0]), int(reached.t[-1]))
        _tell(slot, (BARS, part.name), text, hole, alarm)


async def tell_rates(
    store: AsyncStore, slot: SlotName, venue: Sequence[Funding], alarm: Alarm
) -> None:
    """Tell for each import of funding how many of its rates differ from the venue's.

    Args:
        store: Has the imports, and not yet the venue's rates.
        slot: The slot; funding belongs to its coin.
        venue: The venue's rates, ascending.
        alarm: Tells a person.
    """
    for found in await store.call(lambda s: s.imports.rates_against(slot.coin, venue)):
        if not found.differ:
            log.info("feed.import_agrees", slot=str(slot), source=found.name, rates=found.compared)
            continue
        text = (
            f"{found.differ} of {found.compared} funding rates of {slot.coin} that {found.name}"
            f" brought differ from the venue's, which were taken; the largest difference is at"
            f" {utc(found.worst_ms)}: {found.rate:g} there, {found.venue:g} at the venue"
        )
        hole = Hole(found.worst_ms, found.worst_ms)
        _tell(slot, (FUNDING, found.name), text, hole, alarm)


def _tell(slot: SlotName, source: tuple[str, str], text: str, hole: Hole, alarm: Alarm) -> None:
    command = forget_command(slot, *source)
    remedy = f"if it is the wrong file, stop the daemon and run: {command}"
    log.warning("feed.import_differs", slot=str(slot), source=source[1], why=text, remedy=remedy)
    alarm(slot, "alert", hole, f"{text}; {remedy}")

"""Remove old entries and files once a day in small steps, and log what was removed.

A service that nobody looks at must not fill its disk. Every bar, funding rate, cohort flow and
pointer move is kept, because a recovery or a backtest needs it. The ages and their reasons are
in `docs/decisions/0006-what-is-kept-for-how-long.md`.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from daemon.backtest.candidate_cache import forget_old
from daemon.core.clock import VenueClock
from daemon.store import journal_table
from daemon.store.async_store import AsyncStore
from daemon.store.database import Database
from daemon.store.journal_kinds import ENTRIES_PRUNED
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName

log = structlog.get_logger()

R = TypeVar("R")

SCORES_DAYS: Final = 90
"""Days that the scores of bars are kept; a start reads half of them."""
SCORES_BARS: Final = 5000
"""At least so many scores are kept, which is longer at slow intervals."""
CHATTER_DAYS: Final = 90
"""Days that presences and refused commands are kept; anybody can cause thousands of them."""
OTHERS_DAYS: Final = 3 * 365
"""Days that other journal entries are kept; pointer moves are kept for ever."""
CANDIDATES_DAYS: Final = 30
"""Days that candidates of backtests are kept after their last use."""
COPIES_DAYS: Final = 90
"""Days that copies of the database from before a migration are kept."""

_FIRST_AFTER_S: Final = HOUR_MS // 1000
_EVERY_S: Final = DAY_MS // 1000
# Rows and pages of one step. A bar that arrives meanwhile waits a few milliseconds for it.
_ROWS: Final = 100
_PAGES: Final = 64
# Tomorrow's rows need about the space of today's removed ones. Only more than that is freed.
_SPARE_PAGES: Final = 2048
_PAUSE_S: Final = 0.05


@dataclass(slots=True)
class Removed:
    """What one round removed; `longest_ms` is the longest time of one step in the store."""

    scores: dict[str, int] = field(default_factory=dict)
    entries: int = 0
    candidates: int = 0
    copies: tuple[str, ...] = ()
    pages: int = 0
    longest_ms: float = 0.0

    def anything(self) -> bool:
        """Return whether anything was removed."""
        return bool(self.scores or self.entries or self.candidates or self.copies or self.pages)


class Retention:
    """Prunes the store and the folders beside it while the daemon runs.

    Args:
        store: The store.
        database: Its file; old copies are in the same folder.
        backtests: The folder of the backtests' candidates.
        slots: Steps run in the middle half of the shortest of their bars; they may change.
        clock: Real time, for the ages of files and the pauses.
        venue: The venue's time, for the ages of journal entries.
    """

    def __init__(
        self,
        store: AsyncStore,
        database: Path,
        backtests: Path,
        slots: Collection[SlotName],
        *,
        clock: Clock,
        venue: VenueClock,
    ) -> None:
        self._store, self._database, self._backtests = store, database, backtests
        self._clock, self._venue = clock, venue
        self._slots = slots

    async def run(self) -> None:
        """Clean up once a day of venue time, until cancelled; after an error, try the next day."""
        await self._venue.sleep(_FIRST_AFTER_S)
        while True:
            try:
                await self.clean()
            except (HyperdriftError, OSError) as e:
                log.warning("housekeeping.failed", why=str(e), next_try="in a day")
            await self._venue.sleep(_EVERY_S)

    async def clean(self) -> Removed:
        """Remove what is too old; log and journal what was removed, if anything was.

        Raises:
            StoreUnavailable: If the store cannot be written.
            OSError: If a folder cannot be written.
        """
        removed = Removed()
        if not self._venue.is_trusted:
            return removed  # a wrong clock makes everything look old
        for slot in await self._call(removed, journal_table.scored_slots):
            await self._scores(slot, removed)
        await self._others(removed)
        await self._shorten(removed)
        now_ms = self._clock.now_ms()
        removed.copies = await asyncio.to_thread(_remove_copies, self._database, now_ms)
        before_s = (now_ms - CANDIDATES_DAYS * DAY_MS) / 1000
        removed.candidates = await asyncio.to_thread(forget_old, self._backtests, before_s)
        if removed.anything():
            fields = asdict(removed) | {"copies": list(removed.copies)}
            log.info("housekeeping.pruned", **fields)
            await self._store.call(
                Store.append_journal, None, self._venue.now_ms(), ENTRIES_PRUNED, fields
            )
        return removed

    async def _scores(self, slot: SlotName, removed: Removed) -> None:
        # The age is counted from the newest score, so that a stopped slot keeps its scores.
        newest_ms = await self._call(removed, journal_table.newest_score_ms, slot)
        before_ms = newest_ms - max(SCORES_DAYS * DAY_MS, SCORES_BARS * slot.interval_ms)
        while count := await self._step(
            removed, journal_table.remove_scores, slot, before_ms, _ROWS
        ):
            removed.scores[str(slot)] = removed.scores.get(str(slot), 0) + count

    async def _others(self, removed: Removed) -> None:
        ages = (
            (journal_table.remove_chatter, CHATTER_DAYS),
            (journal_table.remove_others, OTHERS_DAYS),
        )
        for remove, days in ages:
            before_ms = self._venue.now_ms() - days * DAY_MS
            while count := await self._step(removed, remove, before_ms, _ROWS):
                removed.entries += count

    async def _shorten(self, removed: Removed) -> None:
        while (spare := await self._call(removed, Database.spare_pages)) > _SPARE_PAGES:
            pages = min(_PAGES, spare - _SPARE_PAGES)
            await self._step(removed, Database.give_back, pages)
            if await self._call(removed, Database.spare_pages) >= spare:
                return  # a file that cannot be shortened
            removed.pages += pages

    async def _step(self, removed: Removed, work: Callable[..., R], *args: Any) -> R:
        """Do one step at a quiet time, then pause so that others can use the store."""
        await self._quiet()
        done = await self._call(removed, work, *args)
        await self._clock.sleep(_PAUSE_S)
        return done

    async def _call(self, removed: Removed, work: Callable[..., R], *args: Any) -> R:
        def timed(store: Store) -> tuple[R, float]:
            began = self._clock.monotonic()
            return work(store.database, *args), self._clock.monotonic() - began

        done, took_s = await self._store.call(timed)
        removed.longest_ms = max(removed.longest_ms, round(took_s * 1000, 1))
        return done

    async def _quiet(self) -> None:
        """Wait for the middle half of a bar, because bars arrive and are scored at its ends."""
        bar_ms = min((slot.interval_ms for slot in self._slots), default=HOUR_MS)
        early_ms = bar_ms // 4 - self._venue.now_ms() % bar_ms
        if early_ms > 0:
            await self._venue.sleep(early_ms / 1000)
        elif early_ms < -bar_ms // 2:
            await self._venue.sleep((early_ms + bar_ms) / 1000)


def _remove_copies(database: Path, now_ms: int) -> tuple[str, ...]:
    """Remove old copies from before a migration, but keep damaged files for a person."""
    found = [
        p for p in database.parent.glob(f"{database.name}.v*") if _age(p, now_ms) > COPIES_DAYS
    ]
    for path in found:
        path.unlink()
    return tuple(sorted(path.name for path in found))


def _age(path: Path, now_ms: int) -> float:
    """Return the days from a file's last change to `now_ms`."""
    return (now_ms - path.stat().st_mtime * 1000) / DAY_MS

"""Write the weekly digest: what each slot's signals earned, and which versions came and went."""

import asyncio
import contextlib
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from typing import Final

import msgspec
import structlog

from daemon.core.clock import VenueClock
from daemon.notify.notice import Notice
from daemon.notify.week import Week, read_week
from daemon.store.async_store import AsyncStore
from hyperdrift.slot_name import DAY_MS, SlotName

log = structlog.get_logger()

_WEEK_MS: Final = 7 * DAY_MS
_LINES: Final = 12
_DRAWN: Final = 8
_DRAWING_S: Final = 60.0
_NO_PICTURE: Final = (
    "No picture: matplotlib is not installed here, see docs/howto/notifications.md."
)


class DigestMaker:
    """Writes the digest of the last seven days.

    Args:
        store: Holds the journal.
        venue: The venue's clock.
        slots: The slots; they may change.
    """

    def __init__(self, store: AsyncStore, venue: VenueClock, slots: Collection[SlotName]) -> None:
        self._store, self._venue, self._slots = store, venue, slots

    async def write(self, now_ms: int) -> Notice:
        """Return the digest.

        Args:
            now_ms: The time of the message, ms UTC of the host.
        """
        since_ms = self._venue.now_ms() - _WEEK_MS
        weeks = [
            await self._store.call(read_week, slot, since_ms, slot.interval_ms)
            for slot in tuple(self._slots)
        ]
        weeks.sort(key=lambda week: (-len(week.live), -len(week.points), week.slot))
        picture = await drawn(weeks[:_DRAWN])
        return _message(weeks, now_ms, picture)


def _message(weeks: Sequence[Week], now_ms: int, picture: bytes) -> Notice:
    total = sum(week.total_bp for week in weeks)
    signals = sum(len(week.points) for week in weeks)
    many = "1 slot" if len(weeks) == 1 else f"{len(weeks)} slots"
    lines = [_line(week) for week in weeks[:_LINES]]
    if len(weeks) > _LINES:
        lines.append(f"and {len(weeks) - _LINES} more slots: `hyperdrift status`")
    lines.append("After costs, one signal at a time; 100 bp are 1 %.")
    if not picture and find_spec("matplotlib") is None:
        lines.append(_NO_PICTURE)
    return Notice(
        title=f"Week: {total:+.0f} bp by {signals} signals of {many}",
        text="\n".join(lines),
        at_ms=now_ms,
        picture=picture,
    )


def _line(week: Week) -> str:
    signals = len(week.points)
    won = f", {week.won / signals:.0%} won" if signals else ""
    retrains = week.counts.get("retrain_finished", 0) + week.counts.get("retrain_failed", 0)
    back = week.counts.get("rolled_back", 0)
    changes = f"{retrains} retrains, {week.counts.get('swapped', 0)} went live"
    changes += f", {back} rolled back" if back else ""
    return f"{week.slot}: {week.total_bp:+.0f} bp by {signals} signals{won}; {changes}"


async def drawn(weeks: Sequence[Week]) -> bytes:
    """Return the picture of the weeks as PNG; empty if it cannot be drawn.

    It is drawn in a process of its own: matplotlib would keep 60 MiB of the daemon's.
    """
    if find_spec("matplotlib") is None or not any(week.points for week in weeks):
        return b""
    command = (sys.executable, "-m", "daemon.notify.picture")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(_DRAWING_S):
            picture, said = await child.communicate(msgspec.json.encode(weeks))
    except TimeoutError:
        picture, said = b"", b"it takes too long"
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    if not picture:
        why = said.decode(errors="replace").strip().rpartition("\n")[2]
        log.warning("notify.no_picture", why=why)
    return picture

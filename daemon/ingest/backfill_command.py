"""Store past bars of one slot without a daemon, and compare the store with the venue."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from daemon.config.schema import Config
from daemon.core.bars import REACH_BARS, Alarm, Bar, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import Unreachable
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rate_limit import Priority
from daemon.hyperliquid.rest import RestClient
from daemon.ingest.store_report import Stretch, stretches
from daemon.ingest.store_verdict import StoreVerdict, verify
from daemon.market_data.backfill import Backfill
from daemon.market_data.bar_close import closed_t
from daemon.store.async_store import AsyncStore
from daemon.store.properties import record_venue, require_venue
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, SlotName

_PIECE_BARS: Final = 1000

OnBars = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of a backfill: what it added to the store, and what is still missing.

    Attributes:
        slot: The slot.
        added: Bars that were added.
        bars: Bars that the store has now.
        from_t: Open time of the oldest stored bar, ms UTC; None without bars.
        to_t: Open time of the newest stored bar, ms UTC; None without bars.
        funding: Funding rates that were added.
        gaps: Stretches of bars that are missing.
        notes: Where imports differ from the venue, and the command that forgets each.
    """

    slot: str
    added: int
    bars: int
    from_t: int | None
    to_t: int | None
    funding: int
    gaps: tuple[Stretch, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return asdict(self)


@asynccontextmanager
async def _venue(
    config: Config, coin: str, clock: Clock
) -> AsyncIterator[tuple[RestClient, VenueClock]]:
    """Connect to the venue, learn its clock and look up the coin.

    Raises:
        BadInput: If the venue has no such coin.
    """
    venue = VenueClock(clock, config.hyperliquid.speed)
    url, _ = config.hyperliquid.urls
    async with RestClient(url, clock, venue, config.hyperliquid.weight_per_minute) as rest:
        await rest.learn_clock()
        if fault := (await Listings(rest).faults([coin])).get(coin):
            raise BadInput(f"--coin: {fault.text}")
        yield rest, venue


async def backfill(
    config: Config,
    slot: SlotName,
    store: AsyncStore,
    clock: Clock,
    *,
    days: float,
    on_bars: OnBars = lambda _: None,
) -> Filled:
    """Store what the venue still serves of the last `days` days.

    Args:
        config: The settings, with the venue's address.
        slot: The slot of the bars and the funding; it need not be configured.
        store: Takes the bars and the rates.
        clock: Real time.
        days: How many days back; the venue serves the newest 5000 bars.
        on_bars: Called after each piece with the number of its bars.

    Raises:
        VenueUnreachable: If the venue does not answer.
        BadInput: If the venue has no such coin.
        ConfigError: If the store follows another venue.
        StoreUnavailable: If the store cannot be written.
    """
    followed = config.hyperliquid.venue
    await store.call(require_venue, followed, config.data_dir)
    before, notes = await store.call(_count, slot), list[str]()
    async with _venue(config, slot.coin, clock) as (rest, venue):
        await store.call(record_venue, followed)
        step, closed = slot.interval_ms, closed_t(slot, venue)
        from_ms = venue.now_ms() - round(days * DAY_MS)
        first = max(-(-from_ms // step) * step, closed - (REACH_BARS - 1) * step)
        history = Backfill(rest, store, venue, _keep_alerts(notes))
        await history.check_imports(slot, first)
        for start in range(first, closed + 1, _PIECE_BARS * step):
            end = min(start + (_PIECE_BARS - 1) * step, closed)
            await _fetch(rest, store, slot, start, end)
            on_bars((end - start) // step + 1)
        # Filled bars, gaps and funding, as at the start of the daemon.
        await history.fetch(slot, from_ms)
        now_ms = venue.now_ms()
    after = await store.call(_count, slot)
    t = (await store.call(Store.bars, slot))["t"]
    gaps = await store.call(stretches, slot, now_ms)
    return Filled(
        slot=str(slot),
        added=after[0] - before[0],
        bars=after[0],
        from_t=int(t[0]) if len(t) else None,
        to_t=int(t[-1]) if len(t) else None,
        funding=after[1] - before[1],
        gaps=tuple(gap for gap in gaps if gap.kind == "missing"),
        notes=tuple(notes),
    )


async def verify_with_venue(
    config: Config, slot: SlotName, store: AsyncStore, clock: Clock
) -> StoreVerdict:
    """Check the stored bars of a slot, and compare them with the venue if it answers.

    Raises:
        BadInput: If the venue has no such coin.
        ConfigError: If the store follows another venue.
    """
    await store.call(require_venue, config.hyperliquid.venue, config.data_dir)
    try:
        async with _venue(config, slot.coin, clock) as (rest, venue):
            closed = closed_t(slot, venue)
            start = closed - (REACH_BARS - 1) * slot.interval_ms
            rows = await rest.candles(*slot, start, priority=Priority.BACKFILL)
            served: list[Bar] | None = [bar for bar in rows if bar.t <= closed]
            unasked = ""
    except Unreachable as e:
        served, unasked = None, str(e)
    return await store.call(verify, slot, served, unasked)


async def _fetch(rest: RestClient, store: AsyncStore, slot: SlotName, start: int, end: int) -> None:
    rows = await rest.candles(*slot, start, end, priority=Priority.BACKFILL)
    bars = [bar for bar in rows if start <= bar.t <= end]
    await store.call(Store.put_bars, slot, bars, Provenance.REST)


def _keep_alerts(notes: list[str]) -> Alarm:
    def keep(_slot: SlotName, kind: str, _hole: Hole, text: str) -> None:
        if kind == "alert":  # what is missing is in the report
            notes.append(text)

    return keep


def _count(store: Store, slot: SlotName) -> tuple[int, int]:
    """Return how many bars and funding rates are stored."""
    return len(store.bars(slot)["t"]), len(store.funding(slot.coin, 0, 2**62))

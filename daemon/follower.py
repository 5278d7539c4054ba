"""One slot's closed bars, in order, once each, confirmed before anybody sees them.

The stream may lose the last state of a bar, and shows none at all of a bar without
trades; REST knows better, but not what was traded while it lags, and nothing of the
quiet time since the last trade. What is made of both is decided here.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import structlog

from daemon.bars import Bar, Provenance, SlotName
from daemon.clock import VenueClock
from daemon.errors import DaemonError
from daemon.history import LONGEST_FILL_BARS, closed_t, flat_bars, give_up, grace_ms
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rest import RestClient
from daemon.settlements import Settlements
from daemon.store import AsyncStore, Hole, Store

log = structlog.get_logger()

# REST may lag behind a close by seconds; only after this long is a missing bar a quiet one.
_PATIENCE_MS: Final = 30_000
_ASK_AGAIN_S: Final = 10.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0

Emit = Callable[[SlotName, Bar], Awaitable[None]]


class Troubles:
    """What keeps bars from coming, logged once per kind for as long as it lasts."""

    def __init__(self) -> None:
        self._of: dict[SlotName, str] = {}

    def begin(self, slot: SlotName, error: DaemonError) -> None:
        """A slot cannot go on."""
        kind = type(error).__name__
        if kind not in self._of.values():
            log.warning("feed.trouble", slot=str(slot), why=str(error))
        self._of[slot] = kind

    def end(self, slot: SlotName) -> None:
        """A slot goes on."""
        if self._of.pop(slot, None) and not self._of:
            log.info("feed.recovered", slot=str(slot))


class Follower:
    """Follows one slot from REST, with the stream's bars as a reserve.

    Args:
        slot: Whose bars.
        rest: The venue.
        store: Where every bar is before it is handed on.
        venue: Decides when a bar is closed.
        settlements: Brings the funding rates that a bar may use.
        troubles: Shared, so that an outage of the venue is one line in the log.
        emit: Takes the bars; may wait, the follower waits with it.
    """

    def __init__(
        self,
        slot: SlotName,
        rest: RestClient,
        store: AsyncStore,
        venue: VenueClock,
        *,
        settlements: Settlements,
        troubles: Troubles,
        emit: Emit,
    ) -> None:
        self._slot, self._rest, self._store, self._venue = slot, rest, store, venue
        self._settlements, self._troubles, self._emit = settlements, troubles, emit
        self._step = slot.interval_ms
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._after = 0  # the newest bar handed on
        self._confirmed = 0  # the newest bar up to which REST has had its say
        self._pushed: Bar | None = None

    async def run(self, after: int | None) -> None:
        """Hand on every bar that closes; ends only when cancelled.

        Args:
            after: Begin with the bar that follows this t; None is the newest bar of record in
                the store, or only what closes from now on if there is none.
        """
        await self._begin(after)
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        while True:
            await self._venue.sleep_until(self._after + 2 * self._step + grace_ms(self._venue))
            try:
                is_done = await self._advance()
            except DaemonError as e:
                self._troubles.begin(self._slot, e)
                await self._venue.sleep(next(waits))
                continue
            self._troubles.end(self._slot)
            waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
            if not is_done:
                await self._venue.sleep(_ASK_AGAIN_S)

    async def push(self, bar: Bar) -> None:
        """Take a bar as the stream shows it: kept, never handed on before REST was asked."""
        held = self._pushed
        if bar.t > self._venue.now_ms() + self._venue.uncertainty_ms + self._step:
            log.debug("feed.future_bar", slot=str(self._slot), t=bar.t)
        elif held is None or bar.t > held.t:
            self._pushed = bar
            if held is not None and held.t > self._after:
                # The next bar has begun: the stream will not show this one again.
                await self._keep(held)
        elif bar.t == held.t and bar.n >= held.n:
            self._pushed = bar  # frames of one bar may overtake each other; n only grows

    async def _begin(self, after: int | None) -> None:
        record = await self._store.call(Store.newest_t, self._slot, Provenance.IMPORT)
        if after is None:
            after = closed_t(self._slot, self._venue) if record is None else record
        self._after = after
        self._confirmed = after if record is None else min(after, record)

    async def _advance(self) -> bool:
        """Ask once and hand on what is certain; return whether nothing closed is left."""
        closed = closed_t(self._slot, self._venue)
        rows = await self._rest.candles(*self._slot, self._confirmed + self._step)
        rows = await self._without_future(rows)
        evident = rows[-1].t - self._step if rows else self._after  # a later bar exists
        closed = evident if evident >= closed else await self._compared(closed, evident)
        certain = [bar for bar in rows if bar.t <= closed]
        result = await self._store.call(Store.put_bars, self._slot, certain, Provenance.REST)
        if result.revised:
            log.debug("feed.revised", slot=str(self._slot), bars=result.revised)
        if certain:
            self._confirmed = max(self._confirmed, certain[-1].t)
        await self._settlements.require(self._slot.coin, closed + self._step)
        await self._hand_on({bar.t: bar for bar in certain}, closed)
        return self._after >= closed

    async def _without_future(self, rows: list[Bar]) -> list[Bar]:
        """Leave out bars that cannot have begun; look at the venue's clock before saying so."""
        if rows and rows[-1].t > self._venue.now_ms():
            await self._rest.learn_clock()
            latest_ms = self._venue.now_ms() + self._venue.uncertainty_ms
            if rows[-1].t > latest_ms:
                log.warning("feed.future_bar", slot=str(self._slot), t=rows[-1].t)
            return [bar for bar in rows if bar.t <= latest_ms]
        return rows

    async def _hand_on(self, bars: dict[int, Bar], closed: int) -> None:
        """Hand on the bars up to `closed`; stop before one that may still come."""
        while (t := self._after + self._step) <= closed:
            if t not in bars:
                later = min((other for other in bars if other > t), default=None)
                found = await self._stand_in(t, later, closed)
                if found is None:
                    return
                bars |= found
                continue
            await self._emit(self._slot, bars[t])
            self._after = t

    async def _stand_in(self, t: int, later: int | None, closed: int) -> dict[int, Bar] | None:
        """Replace bars from `t` on that REST lacks: by stored copies, by flat ones, by a gap.

        Args:
            t: The first bar that is lacking.
            later: The next bar that REST has; None if `t` belongs to the quiet tail.
            closed: The newest closed bar.

        Returns:
            Bars by t; None if it is too early to tell.
        """
        if later is None and self._venue.now_ms() < t + self._step + _PATIENCE_MS:
            return None
        if self._pushed is not None and self._pushed.t == t:
            await self._keep(self._pushed)
        to_t = closed if later is None else later - self._step
        held = {s.bar.t: s.bar for s in await self._store.call(Store.held, self._slot, t, to_t)}
        if t in held:
            return held
        hole = Hole(t, min(held, default=to_t + self._step) - self._step)
        before = (await self._store.call(Store.bars, self._slot, to_t=t, last=1))["close"]
        if not len(before):
            self._after = hole.to_t  # nothing was ever known of this market: nothing is lost
            return {}
        if later is not None and hole.to_t - t >= LONGEST_FILL_BARS * self._step:
            await give_up(self._store, self._slot, hole)
            self._after = hole.to_t
            return {}
        if later is None:
            hole = Hole(t, t)  # its neighbours are not overdue yet, or asked about in turn
        flat = flat_bars(hole, float(before[0]), self._step)
        await self._store.call(Store.put_bars, self._slot, flat, Provenance.FILLED)
        return {bar.t: bar for bar in flat}

    async def _compared(self, closed: int, evident: int) -> int:
        """Believe our own clock alone only after a look at the venue's, which may stand still."""
        await self._rest.learn_clock()
        return closed if closed_t(self._slot, self._venue) >= closed else evident

    async def _keep(self, bar: Bar) -> None:
        """Store a bar as the stream last showed it, until REST confirms it."""
        try:
            await self._store.call(Store.put_bars, self._slot, [bar], Provenance.STREAM)
        except DaemonError as e:
            self._troubles.begin(self._slot, e)

"""Call the venue's `/info` within its weight limit, with retries and typed errors.

This module handles three habits of the venue. A 500 with `null` is a fault that passes, or the
fault of one coin: another call tells which. Idle connections are dropped without notice. All
programs of one address share 1200 weight a minute.
"""

import math
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, Self

import aiohttp
import structlog

from daemon.core.bars import REACH_BARS, Bar, Funding
from daemon.core.clock import VenueClock
from daemon.core.errors import CoinUnserved, VenueUnreachable
from daemon.hyperliquid import requests, wire
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.hyperliquid.backoff import Standstill, delays
from daemon.hyperliquid.connecting import proxy_for
from daemon.hyperliquid.http_answers import Ambiguous, HungUp, Throttled, TryAgain, answered
from daemon.hyperliquid.rate_limit import Priority, Spent, WeightBudget
from daemon.hyperliquid.refusal_log import RefusalLog
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import HOUR_MS, SlotName, interval_name

log = structlog.get_logger()

CONFIRMING_WEIGHT: Final = 21
"""Weight of a call for a few bars of one slot."""

_BASE_WEIGHT: Final = 20
_STATUS_WEIGHT: Final = 2
_CANDLES_PER_WEIGHT: Final = 60
_FUNDINGS_PER_WEIGHT: Final = 20
_TRIES: Final = 5
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 30.0
# Other programs of this address use the same weight: wait until they have some of it back.
_THROTTLED_S: Final = 10.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)
_CONNECTIONS: Final = 8
_CLOCK_SAMPLES: Final = 3
# The venue's clock may be known badly, or a recording may be replayed fast.
_AHEAD_MS: Final = 3 * HOUR_MS


class _Unserved(TryAgain):
    """The venue fails to answer this call, and answers others."""


@dataclass(slots=True)
class RestTally:
    """Counts since the start.

    Attributes:
        retries: Calls that failed and were tried again.
        throttled: Calls among them that the venue answered with 429.
        refused: Bars with impossible numbers, by slot, each counted once.
    """

    retries: int
    throttled: int
    refused: Counter[SlotName]


class RestSnapshot(NamedTuple):
    """Bars, ascending, as the venue had them at or after `asked_at`, monotonic s."""

    bars: list[Bar]
    asked_at: float


class _Answer(NamedTuple):
    body: bytes
    sent: float
    received: float
    spent: Spent


class RestClient:
    """One venue's `/info`; use it as an async context manager.

    Args:
        url: The venue's root, for example `https://api.hyperliquid.xyz`.
        clock: Real time.
        venue: The venue's clock. Its speed scales the weight limit; `learn_clock` sets it.
        weight_per_minute: Weight that may be spent in any minute of venue time.

    Raises:
        ConfigError: If the environment names a proxy that cannot be used.

    Attributes:
        tally: Counts since the start.
        oddities: The venue's anomalies, also those that the readers of its stream find.
    """

    def __init__(
        self, url: str, clock: Clock, venue: VenueClock, weight_per_minute: int = 1000
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/info") + "/info"
        self._proxy = proxy_for(self._url)
        self._clock, self._venue = clock, venue
        self._budget = WeightBudget(clock, venue, weight_per_minute)
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._standstill = Standstill(clock, _FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        self._refusals = RefusalLog()
        self.tally, self.oddities = RestTally(0, 0, self._refusals.bars), AnomalyLog(venue)
        self._session: aiohttp.ClientSession | None = None
        self._unserved: set[str] = set()  # what the venue failed to answer the last time

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    def weight_left(self) -> int:
        """Weight that may be spent at once."""
        return self._budget.left()

    @property
    def weight_per_minute(self) -> int:
        """Weight that may be spent in any minute of venue time."""
        return self._budget.per_minute

    async def candles(
        self,
        coin: str,
        interval: str,
        start_ms: int,
        end_ms: int | None = None,
        *,
        priority: Priority = Priority.LIVE,
    ) -> list[Bar]:
        """Fetch the bars of a `snapshot`, with the same arguments.

        Raises:
            VenueUnreachable, VenueRefused, SchemaChanged: As `snapshot` does.
        """
        return (await self.snapshot(coin, interval, start_ms, end_ms, priority=priority)).bars

    async def snapshot(
        self,
        coin: str,
        interval: str,
        start_ms: int,
        end_ms: int | None = None,
        *,
        priority: Priority = Priority.LIVE,
    ) -> RestSnapshot:
        """Fetch bars, ascending, the forming one included; at most the newest 5000.

        Args:
            coin: The coin as the venue writes it.
            interval: The interval as the venue writes it, or `24h`.
            start_ms: A time in the first bar, ms UTC.
            end_ms: A time in the last bar, ms UTC; None is now.
            priority: Live calls go before backfill.

        Raises:
            VenueUnreachable: If all tries fail.
            VenueRefused: If the venue refuses the request.
            SchemaChanged: If the answer is not what the documentation says.
        """
        slot = SlotName(coin, interval_name(interval))
        last_ms = self._venue.now_ms() if end_ms is None else end_ms
        rows = min(REACH_BARS, max(0, last_ms - start_ms) // slot.interval_ms + 2)
        weight = _BASE_WEIGHT + math.ceil(rows / _CANDLES_PER_WEIGHT)
        request = requests.candles_request(slot, start_ms, end_ms)
        answer = await self._ask(request, weight, priority, f"the candles of {slot}")
        candles = wire.decode_candles(answer.body, slot)
        answer.spent.weight = _BASE_WEIGHT + math.ceil(len(candles.frames) / _CANDLES_PER_WEIGHT)
        self._refusals.note_bars(candles.refused)
        return RestSnapshot([frame.bar for frame in candles.frames], answer.sent)

    async def funding(
        self,
        coin: str,
        start_ms: int,
        end_ms: int | None = None,
        *,
        priority: Priority = Priority.LIVE,
    ) -> list[Funding]:
        """Fetch settled funding rates stamped from `start_ms` to `end_ms`, all pages, ascending.

        Both times are in ms UTC; `end_ms` None is now.

        Raises:
            VenueUnreachable: If all tries fail.
            VenueRefused: If the venue refuses the request.
            SchemaChanged: If the answer is not what the documentation says.
        """
        rates: list[Funding] = []
        last_ms = self._venue.now_ms() if end_ms is None else end_ms
        while True:
            rows = min(wire.FUNDING_PAGE_ROWS, max(0, last_ms - start_ms) // HOUR_MS + 1)
            weight = _BASE_WEIGHT + math.ceil(rows / _FUNDINGS_PER_WEIGHT)
            request = requests.funding_request(coin, start_ms, end_ms)
            answer = await self._ask(request, weight, priority, f"the funding of {coin}")
            page, refused = wire.decode_funding(answer.body, coin)
            rows = len(page) + len(refused)
            answer.spent.weight = _BASE_WEIGHT + math.ceil(rows / _FUNDINGS_PER_WEIGHT)
            # A stamp of a later year would be the newest one until then.
            known = [rate for rate in page if rate.time <= last_ms + _AHEAD_MS]
            if len(known) < len(page):
                refused = (*refused, "its time is in the future")
            self._refusals.note_rates(coin, refused)
            rates += known
            if rows < wire.FUNDING_PAGE_ROWS or not known or known[-1].time < start_ms:
                return rates
            start_ms = known[-1].time + 1

    async def meta(self, dex: str = "") -> dict[str, bool]:
        """Fetch the perps of a dex: coin -> whether it is delisted.

        Raises:
            VenueUnreachable: If all tries fail.
            SchemaChanged: If the answer is not what the documentation says.
        """
        what = f"the coins of dex {dex}" if dex else ""
        answer = await self._ask(requests.meta_request(dex), _BASE_WEIGHT, Priority.LIVE, what)
        return wire.decode_meta(answer.body)

    async def contexts(self) -> bytes:
        """Fetch what is traded of the venue's own perps, for `read_traded`; it fails as `meta`."""
        return (await self._ask(requests.CONTEXTS, _BASE_WEIGHT, Priority.LIVE)).body

    async def dexs(self) -> tuple[str, ...]:
        """Fetch the names of the builders' dexes.

        Raises:
            VenueUnreachable: If all tries fail.
            VenueRefused: If the venue does not know the call.
            SchemaChanged: If the answer is not what the documentation says.
        """
        answer = await self._ask(requests.DEXS_REQUEST, _BASE_WEIGHT, Priority.LIVE)
        return wire.decode_dexs(answer.body)

    async def learn_clock(self) -> None:
        """Set the venue's clock by the quickest of a few answers.

        Raises:
            VenueUnreachable: If all tries fail.
            SchemaChanged: If the answer is not what the documentation says.
        """
        samples = [
            await self._ask(requests.STATUS_REQUEST, _STATUS_WEIGHT, Priority.LIVE)
            for _ in range(_CLOCK_SAMPLES)
        ]
        best = min(samples, key=lambda answer: answer.received - answer.sent)
        jumps, ours_ms = self._venue.jumps, self._venue.now_ms()
        theirs_ms = wire.decode_status(best.body)
        self._venue.learn(theirs_ms, best.sent, best.received)
        if self._venue.jumps > jumps:
            doubt = (
                ""
                if self._venue.is_trusted
                else "; the host's did not, so only later bars close one"
            )
            why = f"the venue's clock moved by {(theirs_ms - ours_ms) / 1000:.0f} s{doubt}"
            log.warning("venue.clock_jumped", why=why)

    async def _ask(
        self, request: bytes, weight: int, priority: Priority, what: str = ""
    ) -> _Answer:
        """Ask until the venue answers, five times at most.

        Args:
            request: The body of the request.
            weight: Its weight.
            priority: Its priority.
            what: What it asks of one coin, in words; empty if it concerns all.
        """
        why, own_waits = "", delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        tries = 1 if what in self._unserved else _TRIES
        for left in reversed(range(tries)):
            try:
                async with self._standstill.turn():
                    answer = await self._try(request, weight, priority, of_coin=bool(what))
            except TryAgain as e:
                why = str(e)
                self.tally.retries += 1
                # `_try` has noted a connection that ended; what is not served is told of elsewhere.
                if not isinstance(e, HungUp) and what not in self._unserved:
                    self.oddities.note("error_answer")
                log.debug("rest.retry", why=why, request=request.decode())
                if isinstance(e, _Unserved):
                    if not left:
                        self._unserved.add(what)
                        raise CoinUnserved(what, why) from e
                    await self._clock.sleep(next(own_waits))
            else:
                self._unserved.discard(what)
                return answer
        times = f"{tries} times" if tries > 1 else "again"
        msg = f"{self._url} does not answer ({why}, {times}): check the network and its status"
        raise VenueUnreachable(msg)

    async def _try(
        self, request: bytes, weight: int, priority: Priority, *, of_coin: bool
    ) -> _Answer:
        """Ask once; after a failure all callers wait for a while."""
        spent = await self._budget.take(weight, priority)
        sent = self._clock.monotonic()
        try:
            try:
                body = await self._post(request)
            except HungUp:
                # The venue had dropped an idle connection: ask at once again, on a new one.
                self.oddities.note("connection_dropped")
                spent.weight += weight
                body = await self._post(request)
        except TryAgain as e:
            if of_coin and isinstance(e, Ambiguous) and await self._answers_others(priority):
                self._standstill.ended()
                raise _Unserved(f"{e}, and it answers other calls") from e
            is_throttled = isinstance(e, Throttled)
            self.tally.throttled += is_throttled
            least_s = _THROTTLED_S / self._venue.speed if is_throttled else 0.0
            self._standstill.failed(sent, least_s)
            raise
        self._standstill.ended()
        return _Answer(body, sent, self._clock.monotonic(), spent)

    async def _answers_others(self, priority: Priority) -> bool:
        """Return whether the venue answers a call that concerns no coin."""
        await self._budget.take(_STATUS_WEIGHT, priority)
        try:
            wire.decode_status(await self._post(requests.STATUS_REQUEST))
        except (TryAgain, HyperdriftError):
            return False
        return True

    async def _post(self, request: bytes) -> bytes:
        if self._session is None:
            msg = "use RestClient as an async context manager"
            raise RuntimeError(msg)
        headers = {"Content-Type": "application/json"}
        call = self._session.post(self._url, data=request, headers=headers, proxy=self._proxy)
        return await answered(call, request)

"""Call the venue's `/info` within its weight limit, with retries and typed errors.

This module handles three habits of the venue. A 500 with `null` is a fault that passes. Idle
connections are dropped without notice. All programs of one address share 1200 weight a minute.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, Self

import aiohttp
import structlog

from daemon.core.bars import REACH_BARS, Bar, Funding
from daemon.core.clock import VenueClock
from daemon.core.errors import VenueRefused, VenueUnreachable
from daemon.core.outside_text import printable
from daemon.core.suggestions import nearest
from daemon.hyperliquid import wire
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.hyperliquid.backoff import Standstill
from daemon.hyperliquid.connecting import proxy_for
from daemon.hyperliquid.rate_limit import Priority, Spent, WeightBudget
from daemon.hyperliquid.refusal_log import RefusalLog
from hyperdrift.clock import Clock
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


class _TryAgain(Exception):
    """The call failed; another try may succeed."""


class _Throttled(_TryAgain):
    """The venue counts more weight than it allows."""


class _HungUp(_TryAgain):
    """The connection ended without an answer, as idle connections do."""


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
        self._standstill = Standstill(
            clock,
            _FIRST_DELAY_S,
            _LONGEST_DELAY_S,
            Random(),  # noqa: S311 - jitter, no secret
        )
        self._refusals = RefusalLog()
        self.tally, self.oddities = RestTally(0, 0, self._refusals.bars), AnomalyLog(venue)
        self._session: aiohttp.ClientSession | None = None

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
        request = wire.candles_request(slot, start_ms, end_ms)
        answer = await self._ask(request, weight, priority)
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
            request = wire.funding_request(coin, start_ms, end_ms)
            answer = await self._ask(request, weight, priority)
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
        answer = await self._ask(wire.meta_request(dex), _BASE_WEIGHT, Priority.LIVE)
        return wire.decode_meta(answer.body)

    async def require_coins(self, coins: Iterable[str]) -> None:
        """Check that every coin is traded: the venue closes the socket for an unknown coin.

        Raises:
            VenueRefused: If one is not; the text names it and the nearest names.
            VenueUnreachable: If all tries fail.
        """
        listed: dict[str, dict[str, bool]] = {}
        for coin in coins:
            dex = coin.partition(":")[0] if ":" in coin else ""
            if dex not in listed:
                listed[dex] = await self.meta(dex)
            if coin not in listed[dex]:
                raise VenueRefused(_unknown(coin, listed[dex]))
            if listed[dex][coin]:
                msg = f"{coin} is delisted: the venue sends no more bars; remove its slot"
                raise VenueRefused(msg)

    async def learn_clock(self) -> None:
        """Set the venue's clock by the quickest of a few answers.

        Raises:
            VenueUnreachable: If all tries fail.
            SchemaChanged: If the answer is not what the documentation says.
        """
        samples = [
            await self._ask(wire.STATUS_REQUEST, _STATUS_WEIGHT, Priority.LIVE)
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

    async def _ask(self, request: bytes, weight: int, priority: Priority) -> _Answer:
        why = ""
        for _ in range(_TRIES):
            try:
                async with self._standstill.turn():
                    return await self._try(request, weight, priority)
            except _TryAgain as e:
                why = str(e)
                self.tally.retries += 1
                if not isinstance(e, _HungUp):  # `_try` has noted that one
                    self.oddities.note("error_answer")
                log.debug("rest.retry", why=why, request=request.decode())
        msg = (
            f"{self._url} does not answer ({why}, {_TRIES} times): check the network and its status"
        )
        raise VenueUnreachable(msg)

    async def _try(self, request: bytes, weight: int, priority: Priority) -> _Answer:
        """Ask once; after a failure all callers wait for a while."""
        spent = await self._budget.take(weight, priority)
        sent = self._clock.monotonic()
        try:
            try:
                body = await self._post(request)
            except _HungUp:
                # The venue had dropped an idle connection: ask at once again, on a new one.
                self.oddities.note("connection_dropped")
                spent.weight += weight
                body = await self._post(request)
        except _TryAgain as e:
            is_throttled = isinstance(e, _Throttled)
            self.tally.throttled += is_throttled
            least_s = _THROTTLED_S / self._venue.speed if is_throttled else 0.0
            self._standstill.failed(sent, least_s)
            raise
        self._standstill.ended()
        return _Answer(body, sent, self._clock.monotonic(), spent)

    async def _post(self, request: bytes) -> bytes:
        if self._session is None:
            msg = "use RestClient as an async context manager"
            raise RuntimeError(msg)
        headers = {"Content-Type": "application/json"}
        try:
            call = self._session.post(self._url, data=request, headers=headers, proxy=self._proxy)
            async with call as response:
                status, body = response.status, await response.read()
        except (aiohttp.ServerDisconnectedError, ConnectionResetError) as e:
            raise _HungUp(str(e) or type(e).__name__) from e
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise _TryAgain(str(e) or type(e).__name__) from e
        if status == 429:  # noqa: PLR2004 - HTTP
            raise _Throttled(f"status {status}")
        if status >= 500 or body.strip() in {b"null", b""}:  # noqa: PLR2004 - HTTP
            raise _TryAgain(f"status {status}")
        if status != 200:  # noqa: PLR2004 - HTTP
            msg = f"the venue refused {request.decode()} with status {status}: {printable(body)}"
            raise VenueRefused(msg)
        return body


def _unknown(coin: str, listed: Iterable[str]) -> str:
    near = nearest(coin, listed, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "names are case-sensitive"
    return f"the venue has no perp {coin!r}; {hint}"

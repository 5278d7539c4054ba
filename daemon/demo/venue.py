"""Return the venue's answer to `POST /info`, by the request and the venue's time.

There is no socket and no clock here: the caller passes the venue's time. So a test can show
that no answer contains the future.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from daemon.demo.protocol import (
    CandleSnapshot,
    ExchangeAnswer,
    FundingHistory,
    FundingRow,
    MarketContexts,
    PerpDexs,
    SpotUniverse,
    Universe,
    decimal_text,
    decode_info,
)
from daemon.demo.recording import Recording
from daemon.demo.tape import Series, Tape
from daemon.demo.trades import TradeGenerator
from hyperdrift.slot_name import DAY_MS, INTERVAL_MS

FUNDING_CAP = 500
# The venue answers so for an unknown coin, and also while it has a passing fault.
_NULL = ExchangeAnswer(500, b"null")
_PREMIUM_OFFSET = 0.0005
_PREMIUM_CENTRE = 0.0001


class Venue:
    """All recorded coins, each at every interval that is a multiple of a recorded one."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._by_coin: dict[str, list[Tape]] = {}
        for recording in recordings:
            self._by_coin.setdefault(recording.coin, []).append(Tape(recording))
        self._series: dict[tuple[str, str], Series] = {}
        self._trades: dict[str, TradeGenerator] = {}
        self.end_ms = max(recording.end_ms for recording in recordings)

    def knows(self, coin: str) -> bool:
        """Say whether the coin is listed; names are case-sensitive."""
        return coin in self._by_coin

    def series(self, coin: str, interval: str) -> Series | None:
        """Return a coin at `interval`; None if that is no multiple of a recorded interval."""
        key = (coin, interval)
        if key not in self._series:
            source = self._source(coin, interval)
            if source is None:
                return None
            self._series[key] = Series(source, interval)
        return self._series[key]

    def trades(self, coin: str) -> TradeGenerator:
        """Return the trades of a listed coin, made from its recording with the shortest bars."""
        if coin not in self._trades:
            self._trades[coin] = TradeGenerator(self._finest(coin))
        return self._trades[coin]

    def answer(self, body: bytes, now_ms: int) -> ExchangeAnswer:
        """Answer one request with what the venue knows at `now_ms`, ms UTC."""
        try:
            request = decode_info(body)
        except msgspec.ValidationError:
            text = b"Failed to deserialize the JSON body into the target type"
            return ExchangeAnswer(422, text, "text/plain")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = b"Failed to parse the request body as JSON"
            return ExchangeAnswer(400, text, "text/plain")
        match request:
            case CandleSnapshot():
                return self._candles(request, now_ms)
            case FundingHistory():
                return self._funding(request, now_ms)
            case Universe() | MarketContexts():
                return self._universe(request, now_ms)
            case PerpDexs():
                named = sorted({dex for coin in self._by_coin if (dex := _dex(coin))})
                dexs = [None, *({"name": dex, "fullName": dex.upper()} for dex in named)]
                return ExchangeAnswer(200, msgspec.json.encode(dexs))
            case SpotUniverse():  # there is no spot data, but clients ask for it at their start
                return ExchangeAnswer(200, b'{"universe":[],"tokens":[]}')
            case _:  # `exchangeStatus`
                status = {"time": now_ms, "specialStatuses": None}
                return ExchangeAnswer(200, msgspec.json.encode(status))

    def _finest(self, coin: str) -> Tape:
        """Return the tape with a coin's shortest bars."""
        return min(self._by_coin[coin], key=lambda tape: tape.recording.interval_ms)

    def _source(self, coin: str, interval: str) -> Tape | None:
        """Return the tape with the longest bars whose multiple is `interval`."""
        wanted = INTERVAL_MS.get(interval, 0)
        fitting = [
            tape
            for tape in self._by_coin.get(coin, ())
            if wanted and wanted % tape.recording.interval_ms == 0
        ]
        return max(fitting, key=lambda tape: tape.recording.interval_ms, default=None)

    def _candles(self, request: CandleSnapshot, now_ms: int) -> ExchangeAnswer:
        window = request.req
        if not self.knows(window.coin):
            return _NULL
        series = self.series(window.coin, window.interval)
        end_ms = now_ms if window.end_time is None else window.end_time
        rows = series.snapshot(window.start_time, end_ms, now_ms) if series else b"[]"
        return ExchangeAnswer(200, rows)

    def _funding(self, request: FundingHistory, now_ms: int) -> ExchangeAnswer:
        if not self.knows(request.coin):
            return _NULL
        recording = self._by_coin[request.coin][0].recording
        times = recording.funding_t
        until = now_ms if request.end_time is None else min(now_ms, request.end_time)
        start = int(np.searchsorted(times, request.start_time))
        stop = min(int(np.searchsorted(times, until, "right")), start + FUNDING_CAP)
        rows = [
            FundingRow(
                coin=request.coin,
                funding_rate=decimal_text(rate),
                premium=decimal_text(_premium(rate)),
                time=time,
            )
            for time, rate in zip(
                times[start:stop].tolist(), recording.funding_rate[start:stop].tolist(), strict=True
            )
        ]
        return ExchangeAnswer(200, msgspec.json.encode(rows))

    def _universe(self, request: Universe | MarketContexts, now_ms: int) -> ExchangeAnswer:
        coins = [coin for coin in self._by_coin if _dex(coin) == (request.dex or "")]
        if request.dex and not coins:
            return _NULL
        universe = [
            {"szDecimals": 5, "name": coin, "maxLeverage": 40, "marginTableId": 56}
            for coin in coins
        ]
        meta = {"universe": universe, "marginTables": [], "collateralToken": 0}
        if isinstance(request, Universe):
            return ExchangeAnswer(200, msgspec.json.encode(meta))
        contexts = [context(self._finest(coin).recording, now_ms) for coin in coins]
        return ExchangeAnswer(200, msgspec.json.encode([meta, contexts]))


def _dex(coin: str) -> str:
    """Return the builder's dex of a coin; empty for the venue's own."""
    return coin.partition(":")[0] if ":" in coin else ""


def context(recording: Recording, now_ms: int) -> dict[str, str | list[str] | None]:
    """Return a coin's figures of the last 24 hours, from the bars that are closed at `now_ms`.

    A coin that was not traded yet has no prices and a volume of zero.
    """
    r = recording
    stop = int(np.searchsorted(r.t + r.interval_ms, now_ms, "right"))
    day = slice(int(np.searchsorted(r.t, now_ms - DAY_MS)), stop)
    traded = r.volume[day]
    price = decimal_text(float(r.close[stop - 1])) if stop else None
    settled = int(np.searchsorted(r.funding_t, now_ms, "right"))
    rate = float(r.funding_rate[settled - 1]) if settled else 0.0
    return {
        "funding": decimal_text(rate),
        "openInterest": "0.0",
        "prevDayPx": decimal_text(float(r.open[day][0])) if traded.size else price or "0.0",
        "dayNtlVlm": decimal_text(round(float(traded @ r.close[day]), 6)),
        "premium": decimal_text(_premium(rate)) if price else None,
        "oraclePx": price or "0.0",
        "markPx": price or "0.0",
        "midPx": price,
        "impactPxs": [price, price] if price else None,
        "dayBaseVlm": decimal_text(round(float(traded.sum()), 8)),
    }


def _premium(rate: float) -> float:
    """Return a premium P that gives `rate` by the venue's formula.

    rate = (P + clamp(0.0001 - P, -0.0005, 0.0005)) / 8. Where the clamp changes nothing, every
    premium gives the same rate; then the middle one is returned.
    """
    pull = _PREMIUM_OFFSET * np.sign(round(8 * rate - _PREMIUM_CENTRE, 12))
    return round(8 * rate + float(pull), 10)

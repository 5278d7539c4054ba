"""Change frames and answers as the faults say, by pure functions.

The exchange calls these functions for each push and each answer. It handles only the faults
of its sockets itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from daemon.demo.faults import (
    BadBar,
    ClockJump,
    CoinFails,
    Delisted,
    Duplicate,
    FaultSchedule,
    HttpError,
    Malformed,
    Moment,
    NoTrades,
    ShortMeta,
    StaleRest,
    Stall,
    Unlisted,
)
from daemon.demo.protocol import (
    CandleSnapshot,
    ExchangeAnswer,
    ExchangeStatus,
    FundingHistory,
    Info,
    MarketContexts,
    Universe,
    decimal_text,
    decode_info,
)
from daemon.demo.recording import Recording

_ABSURD = 100.0
_AHEAD_BARS = 100
_NULL = b"null"
_BODIES = {
    "null": (_NULL, "application/json"),
    "html": (
        b"<html><head><title>%(status)d</title></head><body>the gateway</body></html>",
        "text/html",
    ),
    "text": (b"error %(status)d", "text/plain"),
}
_OTHER_COIN = "OTHER"
_DEEP = b"[" * 10_000 + b"]" * 10_000
_SHAPES = {
    "text": b"upstream request timeout",
    "shape": b'{"channel":"candle","data":{"t":"?"}}',
    "deep": b'{"channel":"candle","data":%b}' % _DEEP,
}
_ODD_TEXTS = {"bytes": b'":"\xff', "surrogates": b'":"\\ud800'}

Ask = Callable[[bytes, int], ExchangeAnswer]


def frames(
    pushed: Sequence[bytes], coin: str, faults: FaultSchedule, at: Moment
) -> Sequence[bytes]:
    """Return the frames that a client gets instead of those `pushed` for a coin."""
    if not faults:
        return pushed
    if delisted := faults.active(Delisted, at, coin):
        faults.touch(delisted, at, len(pushed))
        return ()
    bad, torn, twice = _of_stream(coin, faults, at)
    sent: list[bytes] = []
    for frame in pushed:
        made = _spoilt_frame(frame, bad, faults) if bad else [frame]
        if bad and made != [frame] and not torn:  # in an unreadable frame bad numbers do not show
            faults.touch(bad, at)
        if torn:
            faults.touch(torn, at)
            made = [_torn(one, torn.how) for one in made]
        if twice and made == [frame]:  # a copy of a faulty frame changes nothing for a client
            faults.touch(twice, at)
        sent += [copy for one in made for copy in ((one, one) if twice else (one,))]
    return sent


def hides(coin: str, faults: FaultSchedule, at: Moment) -> bool:
    """Say whether a fault of a push hides all other faults of it."""
    bad, torn, _ = _of_stream(coin, faults, at)
    unusable = bad is not None and bad.numbers != "future"
    is_still = faults.active(Stall, at) or faults.active(Delisted, at, coin)
    return bool(torn or unusable or is_still)


def _of_stream(
    coin: str, faults: FaultSchedule, at: Moment
) -> tuple[BadBar | None, Malformed | None, Duplicate | None]:
    bad, torn = faults.active(BadBar, at, coin), faults.active(Malformed, at, coin)
    return (
        bad if bad and bad.where != "rest" else None,
        torn if torn and torn.where != "rest" else None,
        faults.active(Duplicate, at, coin),
    )


def answer(ask: Ask, body: bytes, faults: FaultSchedule, at: Moment) -> ExchangeAnswer:
    """Return the answer that a client gets.

    Args:
        ask: Returns the venue's own answer to a body at a venue time, ms UTC.
        body: The request.
        faults: The faults.
        at: The present moment.
    """
    if not faults:
        return ask(body, at.now_ms)
    if error := faults.active(HttpError, at):
        faults.touch(error, at)
        body, content_type = _BODIES[error.body]
        return ExchangeAnswer(error.status, body % {b"status": error.status}, content_type)
    request = _read(body)
    if not isinstance(request, CandleSnapshot):
        torn = faults.active(Malformed, at, getattr(request, "coin", None))
        if torn and torn.where != "stream" and torn.answers == "all":
            faults.touch(torn, at)
            told = ask(body, at.now_ms)
            return msgspec.structs.replace(told, body=_torn(told.body, torn.how))
    match request:
        case ExchangeStatus():
            if jump := faults.active(ClockJump, at):
                faults.touch(jump, at)
            return ask(body, at.now_ms + (jump.jump_ms if jump else 0))
        case Universe() | MarketContexts():
            return _listed(ask(body, at.now_ms), faults, at)
        case CandleSnapshot(window):
            return _candles(ask, body, window.coin, faults, at)
        case FundingHistory(coin) if failing := _failing(coin, "funding", faults, at):
            faults.touch(failing, at)
            return ExchangeAnswer(500, _NULL)
        case _:
            return ask(body, at.now_ms)


def _read(body: bytes) -> Info | None:
    try:
        found: Info = decode_info(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def quietened(recording: Recording, faults: FaultSchedule) -> Recording:
    """Return the recording with flat bars, without trades, where `no_trades` faults say so."""
    silent = np.zeros(len(recording), dtype=bool)
    for _, begin_ms, end_ms in faults.quiet(recording.coin):
        silent |= (recording.t >= begin_ms) & (recording.t < end_ms)
    silent[0] = False  # flat bars need a price before them
    if not silent.any():
        return recording
    before = np.maximum.accumulate(np.where(silent, 0, np.arange(len(recording))))
    close = recording.close[before]
    return replace(
        recording,
        open=np.where(silent, close, recording.open),
        high=np.where(silent, close, recording.high),
        low=np.where(silent, close, recording.low),
        close=close,
        volume=np.where(silent, 0.0, recording.volume),
        n=np.where(silent, 0, recording.n),
    )


def count_silenced(recordings: Sequence[Recording], faults: FaultSchedule, now_ms: int) -> None:
    """Count for each `no_trades` fault the bars, closed by `now_ms`, whose trades it removed."""
    for fault, touched in faults.touched():
        if isinstance(fault, NoTrades):
            touched.times = 0
            for r in recordings:
                had = r.t[(r.volume > 0) & (r.t + r.interval_ms < now_ms)]
                spans = [span for one, *span in faults.quiet(r.coin) if one is fault]
                touched.times += sum(int(((had >= a) & (had < b)).sum()) for a, b in spans)


def _candles(ask: Ask, body: bytes, coin: str, faults: FaultSchedule, at: Moment) -> ExchangeAnswer:
    if failing := _failing(coin, "candles", faults, at):
        faults.touch(failing, at)
        return ExchangeAnswer(500, _NULL)
    if delisted := faults.active(Delisted, at, coin):
        faults.touch(delisted, at)
        return ask(body, min(at.now_ms, faults.begin_ms(delisted)))
    torn = faults.active(Malformed, at, coin)
    if torn and torn.where != "stream":
        faults.touch(torn, at)
        told = ask(body, at.now_ms)
        return ExchangeAnswer(told.status, _torn(told.body, torn.how))
    told = ask(body, at.now_ms)
    if stale := faults.active(StaleRest, at, coin):
        fresh, told = told, ask(body, at.now_ms - stale.delay_ms)
        faults.touch(stale, at, int(told != fresh))
    bad = faults.active(BadBar, at, coin)
    if bad and bad.where != "stream" and told.status == 200:  # noqa: PLR2004 - HTTP
        rows = msgspec.json.decode(told.body)
        made = [one for row in rows for one in _spoilt(row, bad, faults)]
        faults.touch(bad, at, int(made != rows))
        told = ExchangeAnswer(200, msgspec.json.encode(made))
    return told


def _failing(
    coin: str, what: str, faults: FaultSchedule, at: Moment
) -> Unlisted | CoinFails | None:
    fails = faults.active(CoinFails, at, coin)
    if fails and fails.of in {what, "both"}:
        return fails
    return faults.active(Unlisted, at, coin)


def _listed(meta: ExchangeAnswer, faults: FaultSchedule, at: Moment) -> ExchangeAnswer:
    """Return the list of coins, without some, or with some of them delisted."""
    kinds: tuple[type[Unlisted | ShortMeta | Delisted], ...] = (Unlisted, ShortMeta, Delisted)
    on = [fault for kind in kinds if (fault := faults.active(kind, at))]
    if meta.status != 200 or not on:  # noqa: PLR2004 - HTTP
        return meta
    for fault in on:
        faults.touch(fault, at)
    short = faults.active(ShortMeta, at)
    if short and short.how == "null":
        return ExchangeAnswer(200, _NULL)
    told = msgspec.json.decode(meta.body)
    listed, contexts = told if isinstance(told, list) else (told, None)
    rows = [] if short and short.how == "empty" else listed["universe"]
    seen = [place for place, row in enumerate(rows) if not _is_hidden(row["name"], faults, at)]
    kept = [
        {**rows[place], "isDelisted": True}
        if faults.active(Delisted, at, rows[place]["name"])
        else rows[place]
        for place in seen
    ]
    if short and short.how == "short" and not kept:
        seen, kept = [0], [{**listed["universe"][0], "name": _OTHER_COIN}]
    listed = {**listed, "universe": kept}
    both = [listed, [contexts[place] for place in seen]] if contexts is not None else listed
    return ExchangeAnswer(200, msgspec.json.encode(both))


def _is_hidden(coin: str, faults: FaultSchedule, at: Moment) -> bool:
    return bool(faults.active(Unlisted, at, coin) or faults.active(ShortMeta, at, coin))


def _spoilt_frame(frame: bytes, bad: BadBar, faults: FaultSchedule) -> list[bytes]:
    pushed = msgspec.json.decode(frame)
    if pushed["channel"] != "candle":
        return [frame]
    rows = _spoilt(pushed["data"], bad, faults)
    return [msgspec.json.encode({**pushed, "data": row}) for row in rows]


def _spoilt(row: dict[str, Any], bad: BadBar, faults: FaultSchedule) -> list[dict[str, Any]]:
    """Return a candle with impossible numbers; for `future` return it and one bar more."""
    if not faults.covers(bad, row["t"]):
        return [row]
    prices = {key: row[key] for key in "ohlc"}
    match bad.numbers:
        case "nan":
            spoilt: dict[str, Any] = {"c": "NaN"}
        case "infinite":
            spoilt = {"h": "1e999"}
        case "negative":
            spoilt = {key: f"-{price}" for key, price in prices.items()}
        case "zero":
            spoilt = {"l": "0.0"}
        case "crossed":  # low above the old high: swapped prices of a flat bar would be possible
            spoilt = {"h": row["l"], "l": decimal_text(float(row["h"]) * 1.01)}
        case "vast":
            spoilt = dict.fromkeys("ohlcv", "1e300")
        case "huge":  # msgspec itself writes no such number
            spoilt = {"n": msgspec.Raw(str(2**70).encode())}
        case "absurd":
            spoilt = {key: decimal_text(float(p) * _ABSURD) for key, p in prices.items()}
        case _:
            ahead = (row["T"] + 1 - row["t"]) * _AHEAD_BARS
            return [row, {**row, "t": row["t"] + ahead, "T": row["T"] + ahead}]
    return [{**row, **spoilt}]


def _torn(body: bytes, how: str) -> bytes:
    if odd := _ODD_TEXTS.get(how):
        # An answer without a text, like that of the time, gets one.
        return body.replace(b'":"', odd) if b'":"' in body else b'{"a' + odd + b'"}'
    return _SHAPES.get(how, body[: len(body) // 2])

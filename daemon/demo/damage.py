"""What faults do to frames and answers: pure functions of what would have been sent.

The exchange asks here at its two borders, the push and the answer, and knows of no fault
itself but those of its sockets.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from daemon.demo.faults import (
    BadBar,
    ClockJump,
    Duplicate,
    FaultSchedule,
    HttpError,
    Malformed,
    Moment,
    StaleRest,
    Unlisted,
)
from daemon.demo.protocol import (
    Answer,
    CandleSnapshot,
    ExchangeStatus,
    FundingHistory,
    Info,
    Universe,
    decimal_text,
    decode_info,
)
from daemon.demo.recording import Recording

_ABSURD = 100.0
_AHEAD_BARS = 100
_NULL = b"null"
_SHAPES = {"text": b"upstream request timeout", "shape": b'{"channel":"candle","data":{"t":"?"}}'}

Ask = Callable[[bytes, int], Answer]


def frames(
    pushed: Sequence[bytes], coin: str, faults: FaultSchedule, at: Moment
) -> Sequence[bytes]:
    """Return the frames that a client gets instead of those `pushed` for a coin."""
    if not faults:
        return pushed
    bad = faults.active(BadBar, at, coin)
    if bad and bad.where != "rest":
        pushed = [made for frame in pushed for made in _spoilt_frame(frame, bad, faults)]
    torn = faults.active(Malformed, at, coin)
    if torn and torn.where != "rest":
        pushed = [_torn(frame, torn.how) for frame in pushed]
    if faults.active(Duplicate, at, coin):
        pushed = [copy for frame in pushed for copy in (frame, frame)]
    return pushed


def answer(ask: Ask, body: bytes, faults: FaultSchedule, at: Moment) -> Answer:
    """Return the answer that a client gets instead of the venue's, `ask(body, now_ms)`."""
    if not faults:
        return ask(body, at.now_ms)
    if error := faults.active(HttpError, at):
        return Answer(error.status, _NULL)
    try:
        request: Info | None = decode_info(body)
    except msgspec.DecodeError:
        request = None
    match request:
        case ExchangeStatus():
            jump = faults.active(ClockJump, at)
            return ask(body, at.now_ms + (jump.jump_ms if jump else 0))
        case Universe():
            return _without_unlisted(ask(body, at.now_ms), faults, at)
        case CandleSnapshot(window):
            return _candles(ask, body, window.coin, faults, at)
        case FundingHistory(coin) if faults.active(Unlisted, at, coin):
            return Answer(500, _NULL)
        case _:
            return ask(body, at.now_ms)


def quietened(recording: Recording, faults: FaultSchedule) -> Recording:
    """Return the recording as it would be had nobody traded where the faults say so."""
    silent = np.zeros(len(recording), dtype=bool)
    for begin_ms, end_ms in faults.quiet(recording.coin):
        silent |= (recording.t >= begin_ms) & (recording.t < end_ms)
    silent[0] = False  # a price must come from somewhere
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


def _candles(ask: Ask, body: bytes, coin: str, faults: FaultSchedule, at: Moment) -> Answer:
    if faults.active(Unlisted, at, coin):
        return Answer(500, _NULL)
    stale = faults.active(StaleRest, at, coin)
    told = ask(body, at.now_ms - (stale.delay_ms if stale else 0))
    bad = faults.active(BadBar, at, coin)
    if bad and bad.where != "stream" and told.status == 200:  # noqa: PLR2004 - HTTP
        rows = [
            made for row in msgspec.json.decode(told.body) for made in _spoilt(row, bad, faults)
        ]
        told = Answer(200, msgspec.json.encode(rows))
    torn = faults.active(Malformed, at, coin)
    if torn and torn.where != "stream":
        return Answer(told.status, _torn(told.body, torn.how))
    return told


def _without_unlisted(meta: Answer, faults: FaultSchedule, at: Moment) -> Answer:
    if meta.status != 200 or not faults.active(Unlisted, at):  # noqa: PLR2004 - HTTP
        return meta
    listed = msgspec.json.decode(meta.body)
    listed["universe"] = [
        coin for coin in listed["universe"] if not faults.active(Unlisted, at, coin["name"])
    ]
    return Answer(200, msgspec.json.encode(listed))


def _spoilt_frame(frame: bytes, bad: BadBar, faults: FaultSchedule) -> list[bytes]:
    pushed = msgspec.json.decode(frame)
    if pushed["channel"] != "candle":
        return [frame]
    rows = _spoilt(pushed["data"], bad, faults)
    return [msgspec.json.encode({**pushed, "data": row}) for row in rows]


def _spoilt(row: dict[str, Any], bad: BadBar, faults: FaultSchedule) -> list[dict[str, Any]]:
    """Return a candle with impossible numbers, and a second one if it is the one too many."""
    if not faults.covers(bad, row["t"]):
        return [row]
    prices = {key: row[key] for key in "ohlc"}
    match bad.numbers:
        case "nan":
            spoilt = {"c": "NaN"}
        case "infinite":
            spoilt = {"h": "1e999"}
        case "negative":
            spoilt = {key: f"-{price}" for key, price in prices.items()}
        case "zero":
            spoilt = {"l": "0.0"}
        case "crossed":  # further apart than they were, or a flat bar would stay sound
            spoilt = {"h": row["l"], "l": decimal_text(float(row["h"]) * 1.01)}
        case "absurd":
            spoilt = {key: decimal_text(float(p) * _ABSURD) for key, p in prices.items()}
        case _:
            ahead = (row["T"] + 1 - row["t"]) * _AHEAD_BARS
            return [row, {**row, "t": row["t"] + ahead, "T": row["T"] + ahead}]
    return [{**row, **spoilt}]


def _torn(body: bytes, how: str) -> bytes:
    return _SHAPES.get(how, body[: len(body) // 2])

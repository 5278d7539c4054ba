"""The readers of what the venue sends, with small answers of the venue's shapes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzz.campaign import FuzzedDecoder
from daemon.core.bars import Provenance
from daemon.hyperliquid import wire
from daemon.hyperliquid.frames import CandleFrame, Candles, ErrorFrame, RefusedBar, Trades
from daemon.store.feature_frame import Flow
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

RECORDINGS: Final = Path(__file__).parents[3] / "shared/fixtures/hyperliquid"
BTC: Final = SlotName("BTC", "5m")
_T: Final = 1_760_000_100_000
_LONGEST: Final = 4000

CANDLE: Final[dict[str, Any]] = {
    "t": _T, "T": _T + 299_999, "s": "BTC", "i": "5m", "o": "61000.0", "c": "61010.0",
    "h": "61020.0", "l": "60990.0", "v": "12.345", "n": 87,
}  # fmt: skip
_TRADE: Final = {
    "coin": "BTC", "side": "B", "px": "61000.0", "sz": "0.25", "time": _T, "hash": "0x00",
    "tid": 123456789012345, "users": ["0x" + "a" * 40, "0x" + "b" * 40],
}  # fmt: skip
_ECHO: Final = {"method": "subscribe", "subscription": {"type": "candle", "coin": "BTC"}}
_RATE: Final = {
    "coin": "BTC", "fundingRate": "0.0000125", "premium": "-0.0001", "time": _T + 79
}  # fmt: skip
_DEXS: Final = b'[null,{"name":"xyz","fullName":"XYZ","deployer":"0x1"}]'
_COIN: Final = {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "isDelisted": False}


def venue_decoders() -> list[FuzzedDecoder]:
    """Return the decoders; what they accept is stored, as the daemon does."""
    store = Store(":memory:")
    frames = [_text({"channel": c, "data": data}) for c, data in _CHANNELS] + _recorded_frames()
    candles = _text([CANDLE, CANDLE | {"t": _T + 300_000}])
    return [
        FuzzedDecoder("frame", tuple(frames), lambda text: _frame(store, text), 6),
        FuzzedDecoder("candleSnapshot", (candles,), lambda text: _answer(store, text), 4),
        FuzzedDecoder("fundingHistory", _funding(), lambda text: _rates(store, text), 2),
        FuzzedDecoder("meta", (_text({"universe": [_COIN]}), *_recorded("meta*")), _meta),
        FuzzedDecoder("exchangeStatus", (_text({"time": _T, "specialStatuses": None}),), _status),
        FuzzedDecoder("perpDexs", (_DEXS,), lambda text: bool(wire.decode_dexs(text))),
    ]


_CHANNELS: Final = (
    ("candle", CANDLE),
    ("candle", [CANDLE, CANDLE | {"t": _T + 300_000}]),
    ("trades", [_TRADE, _TRADE | {"side": "A", "tid": 2}]),
    ("subscriptionResponse", _ECHO),
    ("error", "Already subscribed: {}"),
    ("error", {"why": ["deep"]}),
    ("pong", None),
)


def _frame(store: Store, text: bytes) -> bool:
    frame = wire.decode_frame(text)
    match frame:
        case Candles(frames, refused):
            _keep(store, frames, refused)
            return bool(frames)
        case Trades(trades):
            flows = [Flow(t.time, t.signed, -t.signed, t.size) for t in trades]
            store.put_flow(BTC, flows)
        case ErrorFrame(told):
            assert told.isprintable(), told
            assert len(told) < _LONGEST
    return True


def _answer(store: Store, text: bytes) -> bool:
    read = wire.decode_candles(text, BTC)
    _keep(store, read.frames, read.refused)
    return bool(read.frames)


def _keep(store: Store, frames: Iterable[CandleFrame], refused: Iterable[RefusedBar]) -> None:
    """Store the bars that were read; check that those refused can be told."""
    bars = [frame.bar for frame in frames]
    store.put_bars(BTC, bars, Provenance.REST)
    for bar in bars[:1]:
        store.frame(BTC, from_t=bar.t, to_t=bar.t)
    for one in refused:
        assert one.reason.isprintable(), one.reason
        assert len(f"{one.t} {one.reason}") < _LONGEST


def _rates(store: Store, text: bytes) -> bool:
    rates, refused = wire.decode_funding(text, "BTC")
    store.put_funding("BTC", rates)
    assert all(reason.isprintable() for reason in refused)
    return bool(rates)


def _meta(text: bytes) -> bool:
    return all(isinstance(name.encode(), bytes) for name in wire.decode_meta(text))


def _status(text: bytes) -> bool:
    return float(wire.decode_status(text)) >= 0


def _funding() -> tuple[bytes, ...]:
    return (_text([_RATE, _RATE | {"time": _T + 3_600_079}]), *_recorded("fundingHistory_BTC*"))


def _recorded(pattern: str) -> list[bytes]:
    """Return the recorded answers with such names, each cut to its first entries."""
    found = []
    for path in sorted((RECORDINGS / "rest").glob(f"{pattern}.json")):
        body = json.loads(path.read_text())["response"]["body"]
        del (body["universe"] if isinstance(body, dict) else body)[6:]
        found.append(_text(body))
    return found


def _recorded_frames() -> list[bytes]:
    """Return one recorded frame of each channel and file that is short enough."""
    found: dict[tuple[str, str], bytes] = {}
    for path in sorted((RECORDINGS / "ws").glob("*.json")):
        whole = json.loads(path.read_text())
        for row in whole.get("frames", whole.get("rows", [])):
            frame = row.get("frame")
            if row.get("dir", "recv") == "send" or not isinstance(frame, dict):
                continue
            text = _text(frame)
            if len(text) < _LONGEST:
                found.setdefault((path.name, str(frame.get("channel"))), text)
    return list(found.values())


def _text(value: object) -> bytes:
    return json.dumps(value).encode()

"""Text that no venue should send: each is one refused bar, or one `SchemaChanged`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from daemon.core.bars import Provenance
from daemon.core.errors import SchemaChanged
from daemon.hyperliquid import wire
from daemon.hyperliquid.frames import Candles, ErrorFrame, Trades
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

BTC = SlotName("BTC", "5m")
T = 1_760_000_100_000
CANDLE: dict[str, Any] = {
    "t": T, "T": T + 299_999, "s": "BTC", "i": "5m", "o": "61000.0", "c": "61010.0",
    "h": "61020.0", "l": "60990.0", "v": "12.345", "n": 87,
}  # fmt: skip
TRADE = {"coin": "BTC", "side": "B", "sz": "0.25", "time": T, "tid": 1, "users": ["0x1", "0x2"]}
DEEP = b"[" * 10_000 + b"]" * 10_000

ABSURD: list[dict[str, Any]] = [
    *[{key: number} for key in "ohlcv" for number in ("1e300", "9" * 10_000, "NaN", 10**400)],
    *[{key: number} for key in ("t", "n") for number in (2**63, 2**64, 10**400, -(2**70))],
    {"t": -300_000},
    {"t": 3e14},
    {"o": "1e-300", "l": "1e-300"},
]

DECODERS: dict[str, Callable[[bytes], object]] = {
    "frame": wire.decode_frame,
    "candles": lambda body: wire.decode_candles(body, BTC),
    "funding": lambda body: wire.decode_funding(body, "BTC"),
    "meta": wire.decode_meta,
    "status": wire.decode_status,
}
REAL: dict[str, bytes] = {
    "frame": json.dumps({"channel": "candle", "data": CANDLE}).encode(),
    "candles": json.dumps([CANDLE]).encode(),
    "funding": json.dumps([{"coin": "BTC", "fundingRate": "0.0000125", "time": T}]).encode(),
    "meta": b'{"universe":[{"name":"BTC"}]}',
    "status": b'{"time":1760000000000}',
}


def test_every_real_text_of_this_file_is_read() -> None:
    for name, decode in DECODERS.items():
        decode(REAL[name])


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    "put",
    [b'"\xff\xfe"', b'"\\ud800"', DEEP, DEEP[:10_000], b"1e999", b"\x00"],
    ids=["no UTF-8", "half a character", "deep", "deep and cut", "huge", "NUL"],
)
def test_bad_text_instead_of_any_value_is_one_schema_change_or_one_refusal(
    name: str, put: bytes
) -> None:
    real, decode = REAL[name], DECODERS[name]
    values = [str(v).encode() for v in (T, 87, 1_760_000_000_000)]
    quoted = [f'"{v}"'.encode() for v in ("BTC", "5m", "61000.0", "candle", "0.0000125")]
    for value in [v for v in (*values, *quoted) if v in real] + [real]:
        try:
            read = decode(real.replace(value, put, 1))
        except SchemaChanged as e:
            told = str(e)
        else:
            assert isinstance(read, Candles)
            assert not read.frames
            (refused,) = read.refused
            told = refused.reason
        assert told.isprintable()
        assert len(told) < 600


@pytest.mark.parametrize("change", [{"h": "1e999"}, {"v": None}, {"n": 10**400}, {"c": "9" * 5000}])
def test_a_single_pushed_bar_with_a_name_and_an_unreadable_value_is_refused_by_name(
    change: dict[str, object],
) -> None:
    read = wire.decode_frame(json.dumps({"channel": "candle", "data": CANDLE | change}).encode())
    assert isinstance(read, Candles)
    assert [(one.slot, one.t) for one in read.refused] == [(BTC, T)]


@pytest.mark.parametrize("change", ABSURD, ids=lambda change: str(change)[:24])
def test_an_absurd_number_refuses_its_bar_alone_in_an_answer_and_in_a_frame(
    change: dict[str, object],
) -> None:
    bad, good = CANDLE | change, CANDLE | {"t": T + 300_000}
    answer = wire.decode_candles(json.dumps([bad, good]).encode(), BTC)
    pushed = wire.decode_frame(json.dumps({"channel": "candle", "data": [good, bad]}).encode())
    assert isinstance(pushed, Candles)
    for read in (answer, pushed):
        assert [frame.bar.t for frame in read.frames] == [good["t"]]
        assert len(read.refused) == 1
        assert len(str(read.refused[0])) < 300
    with Store(":memory:") as store:
        read_bars = [frame.bar for frame in answer.frames]
        assert store.put_bars(BTC, read_bars, Provenance.REST).added == 1


def test_the_largest_numbers_that_pass_can_be_stored() -> None:
    big = {"o": "1e12", "h": "1e12", "l": "1e-12", "c": "1e-12", "v": "1e18", "n": 2**53}
    read = wire.decode_candles(json.dumps([CANDLE | big]).encode(), BTC)
    with Store(":memory:") as store:
        assert store.put_bars(BTC, [f.bar for f in read.frames], Provenance.STREAM).added == 1


@pytest.mark.parametrize("change", [{"sz": "1e300"}, {"time": 2**70}, {"time": -1}, {"tid": 2**70}])
def test_a_trade_with_an_absurd_number_leaves_its_neighbours(change: dict[str, object]) -> None:
    rows = [TRADE | change, TRADE]
    read = wire.decode_frame(json.dumps({"channel": "trades", "data": rows}).encode())
    assert isinstance(read, Trades)
    assert read.trades[-1].tid == 1


@pytest.mark.parametrize("at", [0, -1, 2**63, 10**400, 10**13])
def test_a_time_of_the_venue_that_no_clock_has_is_a_changed_schema(at: int) -> None:
    body = json.dumps({"time": at}).encode()
    if at == 0:
        assert wire.decode_status(body) == 0
        return
    with pytest.raises(SchemaChanged, match="exchangeStatus"):
        wire.decode_status(body)


def test_an_error_frame_is_quoted_short_and_printable_whatever_it_holds() -> None:
    for data in ("no \x1b[2J\n such coin" * 1000, {"deep": [[["x"]]]}, 7, None):
        frame = wire.decode_frame(json.dumps({"channel": "error", "data": data}).encode())
        assert isinstance(frame, ErrorFrame)
        assert frame.text.isprintable()
        assert len(frame.text) < 300
    with pytest.raises(SchemaChanged, match=r"error frame .*it is not UTF-8"):
        wire.decode_frame(b'{"channel":"error","data":"\xff"}')

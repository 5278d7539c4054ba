import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.bars import Bar, Funding
from daemon.core.errors import SchemaChanged
from daemon.hyperliquid import requests, wire
from daemon.hyperliquid.frames import (
    Acknowledged,
    CandleFrame,
    Candles,
    ErrorFrame,
    OtherFrame,
    Trade,
    Trades,
    TradesOf,
)
from daemon.hyperliquid.held_channels import acknowledges
from hyperdrift.slot_name import HOUR_MS, SlotName

FIXTURES = Path(os.environ.get("HYPERDRIFT_DATA", "../shared/data/hyperliquid")).parents[1] / (
    "fixtures/hyperliquid"
)
recorded = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no recordings at {FIXTURES}")

BTC = SlotName("BTC", "5m")
CANDLE = {
    "t": 1_760_000_100_000,
    "T": 1_760_000_399_999,
    "s": "BTC",
    "i": "5m",
    "o": "61000.0",
    "c": "61010.0",
    "h": "61020.0",
    "l": "60990.0",
    "v": "12.345",
    "n": 87,
}
BAR = Bar(1_760_000_100_000, 61000.0, 61020.0, 60990.0, 61010.0, 12.345, 87)


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def frame(data: object, channel: str = "candle") -> bytes:
    return text({"channel": channel, "data": data})


def recording(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


@pytest.mark.parametrize(
    "data",
    [
        CANDLE,
        [CANDLE],
        dict(reversed(CANDLE.items())),
        CANDLE | {k: float(CANDLE[k]) for k in "ochlv"},  # type: ignore[arg-type]
        CANDLE | {"o": 61000, "extra": {"of": "tomorrow"}},
    ],
    ids=["object", "array", "other order", "numbers", "integer and unknown key"],
)
def test_a_candle_frame_is_read_in_every_documented_and_seen_shape(data: object) -> None:
    assert wire.decode_frame(frame(data)) == Candles((CandleFrame(BTC, BAR),), ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"o": "nan"}, "not a finite number"),
        ({"h": "inf"}, "not a finite number"),
        ({"v": "-1"}, "volume is negative"),
        ({"l": "-5"}, "not positive"),
        ({"l": "61005.0"}, "outside low..high"),
        ({"h": "60000.0"}, "outside low..high"),
        ({"t": 1_760_000_100_001}, "multiple of 5m"),
        ({"t": -300_000}, "no time"),
        ({"t": 10**18}, "no time"),
        ({"c": "1e999"}, "cannot be read"),
        ({"v": None}, "cannot be read"),
        ({"s": "ETH"}, "it is of ETH-5m"),
    ],
)
def test_a_bar_with_impossible_numbers_is_refused_and_hides_no_other(
    change: dict[str, object], reason: str
) -> None:
    later = CANDLE | {"t": CANDLE["t"] + 300_000}  # type: ignore[operator]
    candles = wire.decode_candles(text([CANDLE | change, later]), BTC)
    assert [f.bar.t for f in candles.frames] == [later["t"]]
    assert len(candles.refused) == 1
    assert reason in candles.refused[0].reason
    assert candles.refused[0].t == (CANDLE | change)["t"]


@pytest.mark.parametrize(
    "body",
    [b"[{]", b"{}", b"null", b'[{"t":1}]', b"[7]", text([CANDLE | {"o": "much"}]), b"<html>", b""],
)
def test_another_shape_is_named_with_the_piece_that_surprised(body: bytes) -> None:
    with pytest.raises(SchemaChanged, match="candleSnapshot has an unknown shape"):
        wire.decode_candles(body, BTC)


@given(st.binary(max_size=80))
def test_no_bytes_whatever_raise_anything_but_schema_changed(body: bytes) -> None:
    for decode in (
        wire.decode_frame,
        wire.decode_meta,
        wire.decode_status,
        lambda b: wire.decode_candles(b, BTC),
        lambda b: wire.decode_funding(b, "BTC"),
    ):
        with suppress(SchemaChanged):
            decode(body)


@given(st.integers(1, len(frame(CANDLE)) - 1))
def test_a_truncated_frame_is_no_candle(cut: int) -> None:
    with pytest.raises(SchemaChanged, match="the venue's frame has an unknown shape"):
        wire.decode_frame(frame(CANDLE)[:cut])


def test_what_is_no_frame_is_not_taken_for_a_greeting() -> None:
    with pytest.raises(SchemaChanged, match=r"frame has an unknown shape .*: upstream request"):
        wire.decode_frame(b"upstream request timeout")


def test_rows_of_another_slot_are_not_taken_for_ours() -> None:
    with pytest.raises(SchemaChanged, match="holds a row of ETH-5m"):
        wire.decode_candles(text([CANDLE | {"s": "ETH"}]), BTC)


def test_rows_are_sorted_and_of_doubles_the_last_stays() -> None:
    earlier = CANDLE | {"t": CANDLE["t"] - 300_000}  # type: ignore[operator]
    candles = wire.decode_candles(text([CANDLE | {"v": "1"}, earlier, CANDLE]), BTC)
    assert [f.bar.t for f in candles.frames] == [earlier["t"], CANDLE["t"]]
    assert candles.frames[1].bar == BAR


def test_an_acknowledgement_with_more_keys_than_were_sent_is_recognised() -> None:
    echo = {"coin": "BTC", "fast": False, "interval": "5m", "nSigFigs": None, "type": "candle"}
    ack = wire.decode_frame(
        frame({"method": "subscribe", "subscription": echo}, "subscriptionResponse")
    )
    assert isinstance(ack, Acknowledged)
    assert acknowledges(ack, BTC)
    assert not acknowledges(ack, SlotName("BTC", "1h"))
    assert not acknowledges(ack, SlotName("ETH", "5m"))


def test_frames_that_are_no_candles_are_told_apart() -> None:
    assert wire.decode_frame(b"Websocket connection established.") == OtherFrame("")
    assert wire.decode_frame(b'{"channel":"pong"}') == OtherFrame("pong")
    assert wire.decode_frame(frame("Already subscribed: {}", "error")) == ErrorFrame(
        "Already subscribed: {}"
    )
    assert wire.decode_frame(frame([], "bbo")) == OtherFrame("bbo")


def test_requests_are_what_the_documentation_shows() -> None:
    assert json.loads(requests.candles_request(BTC, 5, 9)) == {
        "type": "candleSnapshot",
        "req": {"coin": "BTC", "interval": "5m", "startTime": 5, "endTime": 9},
    }
    assert "endTime" not in json.loads(requests.candles_request(BTC, 5, None))["req"]
    assert json.loads(requests.funding_request("BTC", 5, None)) == {
        "type": "fundingHistory",
        "coin": "BTC",
        "startTime": 5,
    }
    assert json.loads(requests.subscribe(BTC)) == {
        "method": "subscribe",
        "subscription": {"type": "candle", "coin": "BTC", "interval": "5m"},
    }
    assert json.loads(requests.meta_request("xyz")) == {"type": "meta", "dex": "xyz"}


ODD_RATES: list[dict[str, object]] = [
    {"coin": "ETH"},
    {"fundingRate": "inf"},
    {"fundingRate": "1e300"},
    {"fundingRate": "9" * 10_000},
    {"time": 2**70},
    {"time": -HOUR_MS},
    {"time": "soon"},
]


def test_a_rate_of_another_coin_or_no_number_is_refused() -> None:
    row = {"coin": "BTC", "fundingRate": "0.0000125", "premium": "-0.0001", "time": HOUR_MS + 79}
    rate = Funding(HOUR_MS + 79, 0.0000125)
    assert wire.decode_funding(text([row]), "BTC") == ((rate,), ())
    for change in ODD_RATES:
        with pytest.raises(SchemaChanged, match="fundingHistory of BTC holds no usable row"):
            wire.decode_funding(text([row | change]), "BTC")
        rates, refused = wire.decode_funding(text([row | change, row]), "BTC")
        assert rates == (rate,)
        assert len(refused) == 1


@recorded
@pytest.mark.parametrize(
    ("name", "slot", "rows"),
    [
        ("candleSnapshot_kPEPE_1h_2023-07-17.json", SlotName("kPEPE", "1h"), 24),
        ("candleSnapshot_BTC_1h_with_forming_bar_2026-09-25.json", SlotName("BTC", "1h"), 5),
    ],
)
def test_recorded_snapshots_are_read_whole(name: str, slot: SlotName, rows: int) -> None:
    body = recording(f"rest/{name}")["response"]["body"]
    candles = wire.decode_candles(text(body), slot)
    assert not candles.refused
    assert len(candles.frames) == rows
    for candle, row in zip(candles.frames, body, strict=True):
        assert (candle.bar.t, candle.bar.close) == (row["t"], float(row["c"]))


@recorded
def test_recorded_funding_and_meta_are_read_whole() -> None:
    for path in sorted((FIXTURES / "rest").glob("fundingHistory_BTC*")):
        body = json.loads(path.read_text())["response"]["body"]
        rates, refused = wire.decode_funding(text(body), "BTC")
        assert not refused
        assert [r.time for r in rates] == [row["time"] for row in body]
    meta = recording("rest/meta_first_six_with_delisted_2026-09-25.json")["response"]["body"]
    assert wire.decode_meta(text(meta)) == {
        row["name"]: row.get("isDelisted", False) for row in meta["universe"]
    }
    assert any(wire.decode_meta(text(meta)).values())


@recorded
def test_every_recorded_frame_is_understood_and_every_candle_read() -> None:
    candles = 0
    for path in sorted((FIXTURES / "ws").glob("*.json")):
        whole = json.loads(path.read_text())
        rows = whole.get("frames", whole.get("rows", []))
        for row in rows:
            if row.get("dir", "recv") == "send":
                continue
            decoded = wire.decode_frame(text(row["frame"]))
            assert isinstance(decoded, Candles) == (row["frame"].get("channel") == "candle")
            if isinstance(decoded, Candles):
                candles += 1
                assert not decoded.refused
                assert decoded.frames[0].bar.close == float(row["frame"]["data"]["c"])
    assert candles > 100


TRADE = {
    "coin": "BTC",
    "side": "B",
    "px": "61000.0",
    "sz": "0.25",
    "time": 1_760_000_000_123,
    "hash": "0x00",
    "tid": 123456789012345,
    "users": ["0xBUYER", "0xSELLER"],
}


def test_the_taker_of_a_trade_is_the_buyer_or_the_seller_as_its_side_says() -> None:
    rows = [TRADE, TRADE | {"side": "A", "tid": 1}, TRADE | {"sz": "0.0"}, TRADE | {"sz": "NaN"}]
    at, tid = TRADE["time"], TRADE["tid"]
    read = wire.decode_frame(frame(rows, "trades"))
    assert isinstance(read, Trades)
    assert read.trades == (
        Trade("BTC", at, tid, 0.25, True, "0xbuyer"),  # type: ignore[arg-type]
        Trade("BTC", at, 1, 0.25, False, "0xseller"),  # type: ignore[arg-type]
    )
    assert [trade.signed for trade in read.trades] == [0.25, -0.25]


def test_a_trade_of_an_address_with_itself_has_no_taker() -> None:
    read = wire.decode_frame(frame([TRADE | {"users": ["0xA", "0xa"]}], "trades"))
    assert isinstance(read, Trades)
    assert [(trade.taker, trade.size) for trade in read.trades] == [("", 0.25)]


@pytest.mark.parametrize("change", [{"side": "X"}, {"users": ["0x1"]}, {"sz": "much"}])
def test_a_trade_of_another_shape_is_a_changed_schema(change: dict[str, object]) -> None:
    with pytest.raises(SchemaChanged, match="trades"):
        wire.decode_frame(frame([TRADE | change], "trades"))


def test_a_trades_channel_is_named_by_its_coin() -> None:
    wanted = {"type": "trades", "coin": "BTC"}
    asked = {"method": "subscribe", "subscription": wanted}
    assert json.loads(requests.subscribe(TradesOf("BTC"))) == asked
    assert json.loads(requests.unsubscribe(TradesOf("BTC"))) == asked | {"method": "unsubscribe"}


def test_the_end_of_a_subscription_is_told_from_its_beginning() -> None:
    for method, ends in (("subscribe", False), ("unsubscribe", True)):
        echo = {"method": method, "subscription": {"type": "trades", "coin": "BTC"}}
        ack = wire.decode_frame(frame(echo, "subscriptionResponse"))
        assert isinstance(ack, Acknowledged)
        assert ack.ends is ends


@recorded
@pytest.mark.parametrize(
    ("name", "taker", "signed"),
    [
        ("mainnet_frames_2026-09-03", "0x8a544ab75107efd541c9072a0efebb87cc4292f3", -0.00022),
        ("mainnet_frames_2026-09-24", "0x8269c0a4f5f1a14582e0aa46856a234893c41970", -0.00036),
    ],
)
def test_recorded_trades_are_read(name: str, taker: str, signed: float) -> None:
    frames = [row["frame"] for row in recording(f"ws/{name}.json")["frames"] if "frame" in row]
    pushes = [f for f in frames if f.get("channel") == "trades"]
    read = [wire.decode_frame(text(push)) for push in pushes]
    assert all(isinstance(one, Trades) for one in read)
    first = read[0].trades[0]  # type: ignore[union-attr]
    assert (first.taker, first.signed) == (taker, signed)

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.demo.recording import Recording
from daemon.demo.tape import Tape
from daemon.demo.trades import TRADERS, TradeGenerator
from tests.daemon.demo.markets import MINUTES_5, START_MS, flat, market
from tests.daemon.demo.test_venue import FIXTURES

BARS = 60
END_MS = START_MS + BARS * MINUTES_5


@cache
def recorded() -> Recording:
    return market(BARS, quiet=(30, 31))


@cache
def trades() -> TradeGenerator:
    return TradeGenerator(Tape(recorded()))


@cache
def told(of: TradeGenerator, until_ms: int = END_MS + 10_000) -> list[dict[str, Any]]:
    """Every trade from the beginning on."""
    return [trade for frame in of.frames(0, of.position(until_ms)) for trade in read(frame)]


def of_state(position: int) -> list[dict[str, Any]]:
    return [t for frame in trades().frames(position, position + 1) for t in read(frame)]


def read(frame: bytes) -> list[dict[str, Any]]:
    decoded = json.loads(frame)
    assert decoded["channel"] == "trades"
    data: list[dict[str, Any]] = decoded["data"]
    return data


def test_the_trades_of_a_bar_add_up_to_its_candle() -> None:
    by_bar: dict[int, list[dict[str, Any]]] = {}
    for trade in told(trades()):
        by_bar.setdefault(trade["time"] // MINUTES_5 * MINUTES_5, []).append(trade)
    r = recorded()
    assert sorted(by_bar) == [int(t) for t, n in zip(r.t, r.n, strict=True) if n]
    for bar, t in enumerate(r.t.tolist()):
        if t not in by_bar:
            continue
        prices = [float(trade["px"]) for trade in by_bar[t]]
        assert (prices[0], max(prices)) == (r.open[bar], r.high[bar])
        assert (min(prices), prices[-1]) == (r.low[bar], r.close[bar])
        sizes = [float(trade["sz"]) for trade in by_bar[t]]
        assert min(sizes) > 0
        assert round(sum(sizes), 8) == r.volume[bar]
        assert len(sizes) == r.n[bar]


def test_no_trade_is_told_before_it_happened_and_none_twice() -> None:
    seen: list[dict[str, Any]] = []
    position = 0
    for now_ms in range(START_MS, END_MS, 60_000):
        ahead = trades().position(now_ms)
        fresh = [t for frame in trades().frames(position, ahead) for t in read(frame)]
        assert all(trade["time"] <= now_ms for trade in fresh)
        seen, position = seen + fresh, ahead
    assert seen == told(trades(), END_MS - 60_000)
    assert len({(trade["time"], trade["tid"]) for trade in seen}) == len(seen)
    times = [trade["time"] for trade in seen]
    assert times == sorted(times)


@given(st.integers(START_MS, END_MS))
@settings(max_examples=30, deadline=None)
def test_a_subscription_begins_with_the_last_thirty(now_ms: int) -> None:
    greeting = trades().greeting(now_ms)
    position = trades().position(now_ms)
    past = [t for p in range(max(0, position - 40), position) for t in of_state(p)]
    assert (read(greeting) if greeting else []) == past[-30:]


def test_both_sides_take_and_everybody_trades() -> None:
    one = told(trades())
    bought = sum(trade["side"] == "B" for trade in one)
    assert 0.35 < bought / len(one) < 0.65
    assert {user for trade in one for user in trade["users"]} == set(TRADERS)
    assert all(trade["users"][0] != trade["users"][1] for trade in one)


def test_takers_mostly_go_with_the_move() -> None:
    rose = told(TradeGenerator(Tape(rising())))
    bought = sum(trade["side"] == "B" for trade in rose)
    assert bought > 0.6 * len(rose)


def rising() -> Recording:
    """A market in which every bar opens at its low and closes at its high."""
    base = flat(20)
    lift = 100.0 + 0.1 * (base.t - base.t[0]) / MINUTES_5
    columns = {"open": lift, "low": lift, "high": lift + 0.1, "close": lift + 0.1}
    return Recording(
        "UP",
        "5m",
        base.t,
        **columns,
        volume=base.volume * 50,
        n=base.n * 50,
        funding_t=base.funding_t,
        funding_rate=base.funding_rate,
    )


def test_a_bar_of_one_trade_is_one_trade() -> None:
    assert [(t["px"], t["sz"]) for t in told(TradeGenerator(Tape(flat(3))))] == [
        ("100.0", "1.0")
    ] * 3


def test_frames_stay_small() -> None:
    frames = trades().frames(0, trades().position(END_MS))
    assert max(map(len, frames)) < 64 * 1024


def test_a_trade_has_the_keys_and_types_of_recorded_ones() -> None:
    path = FIXTURES.parent / "ws" / "mainnet_frames_2026-09-24.json"
    if not path.exists():
        pytest.skip(f"no recorded frames at {FIXTURES.parent}")
    frames = [row["frame"] for row in json.loads(path.read_text())["frames"]]
    real = next(f["data"][0] for f in frames if f.get("channel") == "trades")
    made = told(trades())[0]
    assert list(made) == list(real)
    assert [type(value) for value in made.values()] == [type(value) for value in real.values()]
    for key in ("hash", "users"):
        assert len(made[key]) == len(real[key])
    assert [len(user) for user in made["users"]] == [len(user) for user in real["users"]]
    assert made["tid"] < 2**50

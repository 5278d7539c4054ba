import json
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.store import market_closures
from daemon.store.market_closures import OUTAGE, PRELISTING, MarketClosure
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.daemon.fake_venue import START, STEP
from tests.daemon.hyperliquid.test_wire import FIXTURES, recorded

COINS = ("BTC", "ETH", "FTT")
BTC, ETH, FTT = (SlotName(coin, "5m") for coin in COINS)


def market(seed: int, bars: int, quiet: set[int] | None = None, every: int = 0) -> list[Bar]:
    """A market that trades in every bar but some."""
    random, made, close = np.random.default_rng(seed), [], 100.0
    for k in range(bars):
        t = START + k * STEP
        if k in (quiet or set()) or (every and k % every == 0):
            made.append(Bar(t, close, close, close, close, 0.0))
            continue
        opened, close = close, close * float(1 + 0.001 * random.standard_normal())
        made.append(Bar(t, opened, max(opened, close), min(opened, close), close, 1.0, 3))
    return made


def store(*markets: list[Bar]) -> Store:
    made = Store(":memory:")
    for coin, bars in zip(COINS, markets, strict=False):
        made.put_bars(SlotName(coin, "5m"), bars, Provenance.REST)
    return made


def numbers(frame: Any) -> list[int]:
    return list((frame["t"] - START) // STEP)


def span(first: int, last: int, kind: str) -> MarketClosure:
    return MarketClosure(START + first * STEP, START + last * STEP, kind)


def noted(held: Store, slot: SlotName) -> list[MarketClosure]:
    query = (
        "SELECT from_t, to_t, kind FROM silences WHERE (coin, interval) = (?, ?) ORDER BY from_t"
    )
    return [MarketClosure(*row) for row in held.database.read(query, slot)]


def test_a_bar_in_which_no_coin_traded_is_an_outage_and_left_out_of_training() -> None:
    down = {200, 201, 300}
    held = store(market(1, 500, down), market(2, 500, down | {50}), market(3, 500, down, every=9))
    for slot in (BTC, ETH, FTT):
        frame = market_closures.training_frame(held, slot, START, (BTC, ETH, FTT))
        assert numbers(frame) == [k for k in range(500) if k not in down]
        assert noted(held, slot) == [span(200, 201, OUTAGE), span(300, 300, OUTAGE)]
    assert len(held.bars(BTC)["t"]) == 500


def test_a_coin_that_pauses_while_another_trades_only_pauses() -> None:
    held = store(market(1, 500, {200, 201, 202}), market(2, 500))
    frame = market_closures.training_frame(held, BTC, START, (BTC, ETH))
    assert numbers(frame) == list(range(500))
    assert noted(held, BTC) == []


def test_coins_that_often_pause_tell_nothing_about_each_other() -> None:
    held = store(*(market(k, 400, every=3) for k in range(3)))
    assert numbers(market_closures.training_frame(held, BTC, START, (BTC, ETH, FTT))) == list(
        range(400)
    )


@pytest.mark.parametrize(("quiet", "lost"), [({300, 301}, {300, 301}), ({300}, set())])
def test_one_coin_alone_tells_an_outage_by_two_silent_bars(quiet: set[int], lost: set[int]) -> None:
    held = store(market(1, 600, quiet))
    frame = market_closures.training_frame(held, BTC, START, (BTC,))
    assert numbers(frame) == [k for k in range(600) if k not in lost]


def test_what_is_found_later_replaces_what_was_known() -> None:
    held = store(market(1, 600, {300, 301}))
    market_closures.training_frame(held, BTC, START, (BTC,))
    held.put_bars(BTC, market(1, 600), Provenance.REST)
    market_closures.training_frame(held, BTC, START, (BTC,))
    assert noted(held, BTC) == []


def test_bars_that_rest_has_not_confirmed_are_not_learnt_from() -> None:
    held = store(market(1, 400))
    held.put_bars(BTC, [Bar(START + 400 * STEP, 1.0, 1.0, 1.0, 1.0, 1.0)], Provenance.STREAM)
    assert numbers(market_closures.training_frame(held, BTC, START, ())) == list(range(400))


def test_a_slot_without_bars_has_an_empty_frame() -> None:
    assert not len(market_closures.training_frame(store(), BTC, START, ())["t"])


def fixture(name: str) -> dict[str, list[Bar]]:
    series = json.loads((FIXTURES / "ohlcv" / name).read_text())["series"]
    return {
        s["coin"]: [Bar(t, o, h, low, c, v) for t, o, h, low, c, v in s["rows"]] for s in series
    }


@recorded
def test_the_venues_back_fill_before_a_listing_is_recognised() -> None:
    bars = next(iter(fixture("BABY_perp_5m_prelisting_2025-04-12.json").values()))
    slot = SlotName("BABY", "5m")
    held = Store(":memory:")
    held.put_bars(slot, bars, Provenance.REST)
    first = next(bar.t for bar in bars if bar.volume > 0)
    frame = market_closures.training_frame(held, slot, 0, ())
    assert frame["t"][0] == first
    assert noted(held, slot) == [MarketClosure(bars[0].t, first - STEP, PRELISTING)]


@recorded
def test_a_recorded_outage_is_recognised_on_three_markets_at_once() -> None:
    markets = fixture("outage_5m_2025-06-08.json")
    slots = [SlotName(coin, "5m") for coin in markets]
    held = Store(":memory:")
    for slot, bars in zip(slots, markets.values(), strict=True):
        first, close = bars[0].t, bars[0].open
        before = [Bar(first - k * STEP, close, close, close, close, 1.0) for k in range(1, 400)]
        held.put_bars(slot, [*bars, *before], Provenance.REST)
    market_closures.training_frame(held, slots[0], 0, slots)
    (found,) = noted(held, slots[0])
    shut = [bar.t for bar in markets[slots[0].coin] if bar.volume == 0]
    assert found == MarketClosure(shut[0], shut[-1], OUTAGE)

"""Cohort flow: which trades count, once each, and what is known of a bar."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.frames import Trade
from daemon.market_data.order_flow import CohortFlow, Cohorts, read_cohorts
from daemon.store import taker_table
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from tests.daemon.fake_venue import BTC, START, STEP, bar
from tests.fakes import FakeClock

TOP, BOTTOM, NOBODY = ("0x" + digit * 40 for digit in "abc")
COHORTS = Cohorts(frozenset({TOP}), frozenset({BOTTOM}))
QUARTER = SlotName("BTC", "15m")


@pytest.fixture
def store() -> Iterator[ThreadedStore]:
    made = ThreadedStore(Store(":memory:"))
    yield made
    made.close()


def trade(number: int, tid: int, size: float, taker: str = NOBODY, *, coin: str = "BTC") -> Trade:
    """A trade in the first half of a bar; a negative size is a sale."""
    return Trade(coin, START + number * STEP + tid, tid, abs(size), size > 0, taker)


def collector(store: ThreadedStore, clock: FakeClock, *slots: SlotName) -> CohortFlow:
    return CohortFlow(COHORTS, slots or (BTC,), store, VenueClock(clock))


async def kept(store: ThreadedStore, volumes: list[float], slot: SlotName = BTC) -> np.ndarray:
    """Return s_top and s_bot per bar once the bars have these volumes."""
    bars = [bar(k, volume=volume) for k, volume in enumerate(volumes)]
    await store.call(Store.put_bars, slot, bars, Provenance.REST)
    frame = await store.call(Store.frame, slot)
    return np.column_stack((frame["s_top"], frame["s_bot"]))


async def test_what_cohorts_took_is_signed_and_summed_per_bar(store: ThreadedStore) -> None:
    flow = collector(store, FakeClock(START))
    await flow.begin()
    for one in (
        trade(0, 1, 2.0, TOP),
        trade(0, 2, -0.5, TOP),
        trade(0, 3, -1.0, BOTTOM),
        trade(0, 4, 3.0),
        trade(0, 5, 9.0, TOP, coin="ETH"),
        trade(1, 6, -4.0, TOP),
    ):
        flow.take(one)
    await flow.settle(BTC, START)
    await flow.settle(BTC, START + STEP)
    assert (await kept(store, [6.5, 4.0])).tolist() == [[1.5, -1.0], [-4.0, 0.0]]


async def test_slots_of_one_coin_share_its_trades(store: ThreadedStore) -> None:
    start = START - START % QUARTER.interval_ms
    flow = collector(store, FakeClock(start), BTC, QUARTER)
    await flow.begin()
    for number in range(3):
        flow.take(Trade("BTC", start + number * STEP + 1, number, 1.0, True, TOP))
        await flow.settle(BTC, start + number * STEP)
    await flow.settle(QUARTER, start)
    rows = store.store._db.read("SELECT interval, t, s_top, seen FROM flow ORDER BY interval, t")
    assert rows == [("15m", start, 3.0, 3.0)] + [
        ("5m", start + k * STEP, 1.0, 1.0) for k in range(3)
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.randoms(use_true_random=False))
async def test_the_repeats_after_each_reconnect_count_nothing_twice(cuts, random) -> None:
    store = ThreadedStore(Store(":memory:"))
    trades = [
        trade(k // 20, k, random.choice([1.0, -2.0]), random.choice([TOP, BOTTOM]))
        for k in range(60)
    ]
    flow = collector(store, FakeClock(START))
    await flow.begin()
    done = 0
    for cut in [*sorted(cuts), 60]:
        for one in trades[max(0, done - 30) : cut]:  # the last 30 come again, then what is new
            flow.take(one)
        done = max(done, cut)
    for number in range(3):
        await flow.settle(BTC, START + number * STEP)
    expected = [
        [
            sum(t.signed for t in trades[20 * k : 20 * k + 20] if t.taker == who)
            for who in (TOP, BOTTOM)
        ]
        for k in range(3)
    ]
    volumes = [sum(t.size for t in trades[20 * k : 20 * k + 20]) for k in range(3)]
    assert (await kept(store, volumes)).tolist() == expected
    store.close()


async def test_a_bar_whose_trades_went_by_unseen_is_unknown_and_its_neighbours_are_not(
    store,
) -> None:
    flow = collector(store, FakeClock(START))
    await flow.begin()
    flow.take(trade(0, 1, 1.0, TOP))
    flow.take(trade(1, 2, 0.9, TOP))  # and 0.1 while the socket was gone
    flow.take(trade(2, 3, 1.0, TOP))
    for number in range(4):  # in the fourth nobody trades
        await flow.settle(BTC, START + number * STEP)
    rows = await kept(store, [1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(rows[:, 0], [1, np.nan, 1, 0])


async def test_what_was_traded_while_the_daemon_was_down_is_unknown(store: ThreadedStore) -> None:
    clock = FakeClock(START)
    flow = collector(store, clock)
    await flow.begin()
    flow.take(trade(0, 1, 1.0, TOP))
    await flow.settle(BTC, START)
    clock.ms = START + 3 * STEP + 1000
    flow = collector(store, clock)
    await flow.begin()
    flow.take(trade(0, 1, 1.0, TOP))  # repeated: belongs to a bar that is closed and stored
    flow.take(trade(3, 9, 0.5, TOP))
    for number in (2, 3, 4):
        flow.take(trade(4, 10, 1.0, TOP))
        await flow.settle(BTC, START + number * STEP)
    rows = await kept(store, [1.0, 1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(rows[:, 0], [1, np.nan, np.nan, np.nan, 1])


async def test_a_trade_that_comes_after_its_bar_was_settled_still_counts(
    store: ThreadedStore,
) -> None:
    flow = collector(store, FakeClock(START))
    await flow.begin()
    flow.take(trade(0, 1, 1.0, TOP))
    await flow.settle(BTC, START)
    flow.take(trade(0, 2, 1.0, TOP))
    await flow.settle(BTC, START + STEP)
    assert (await kept(store, [2.0, 0.0]))[:, 0].tolist() == [2.0, 0.0]


async def test_trades_of_the_far_future_are_not_kept(store: ThreadedStore) -> None:
    flow = collector(store, FakeClock(START))
    await flow.begin()
    for year in range(1, 9):
        flow.take(trade(year * 105_120, year, 1.0, TOP))
    await flow.settle(BTC, START + 10 * 105_120 * STEP)
    rows = store.store.database.read("SELECT sum(seen) FROM flow")
    assert rows == [(0.0,)]


async def test_memory_stays_bounded(store: ThreadedStore) -> None:
    flow = collector(store, FakeClock(START))
    await flow.begin()
    for number in range(50):
        for k in range(100):
            flow.take(trade(number, 100 * number + k, 1.0))
        await flow.settle(BTC, START + number * STEP)
    assert len(flow._known["BTC"]) == len(flow._recent["BTC"]) == 1024
    assert len(flow._sums[BTC]) == 1


def cohort_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cohorts.csv"
    path.write_text(text)
    return path


def test_a_cohort_file_is_read_whatever_its_case_order_and_spaces(tmp_path: Path) -> None:
    upper = TOP.upper().replace("X", "x")
    rows = ("Cohort, Address ,pnl", f" top , {upper},1", f"BOTTOM,{BOTTOM},2", "", f"top,{TOP},1")
    text = "\n".join(rows)
    assert read_cohorts(cohort_file(tmp_path, text)) == COHORTS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{TOP},top\n", "line 1: write the column names address,cohort"),
        ("", "line 1: write the column names address,cohort"),
        ("address,cohort\n", "no addresses"),
        (f"address,cohort\n{TOP},top\n0x12,top\n", "line 3: '0x12' is no address"),
        (f"address,cohort\n{TOP},best\n", "line 2: cohort 'best'; write top or bottom"),
        (f"address,cohort\n{TOP}\n", "line 2: cohort ''"),
        (f"address,cohort\n{TOP},top\n{TOP},bottom\n", "line 3: .* is in both cohorts"),
    ],
)
def test_a_bad_cohort_file_is_one_line_that_names_the_place(tmp_path, text, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_cohorts(cohort_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_cohort_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"features\.cohort_file .*none\.csv: cannot be read.*; write a"
    ):
        read_cohorts(tmp_path / "none.csv")


async def test_where_cohorts_are_learnt_what_addresses_took_is_kept(store: ThreadedStore) -> None:
    learnt = taker_table.CohortList(START + STEP, frozenset({TOP}), frozenset({BOTTOM}))
    await store.call(lambda s: taker_table.put_lists(s.database, BTC, [learnt]))
    flow = CohortFlow(None, (BTC,), store, VenueClock(FakeClock(START)), keep_ms=10 * STEP)
    await flow.begin()
    for number in (0, 1):
        flow.take(trade(number, 1, 2.0, TOP))
        flow.take(trade(number, 2, -0.5, TOP))
        flow.take(trade(number, 3, -3.0, BOTTOM))
        flow.take(trade(number, 4, 9.0, "no address"))
        flow.take(trade(number, 5, 9.0, ""))
    await flow.settle(BTC, START)
    flow.take(trade(0, 6, 0.5, TOP))  # late
    await flow.settle(BTC, START + STEP)
    # The list is in force from the second bar on.
    told = await kept(store, [24.0, 23.5])
    assert told.tolist() == [[0, 0], [1.5, -3.0]]
    rows = await store.call(lambda s: taker_table.read(s.database, BTC, 0, 2**60))
    assert sorted(rows.signed[rows.t == START].tolist()) == [-3.0, 2.0]
    assert sorted(rows.signed[rows.t == START + STEP].tolist()) == [-3.0, 1.5]


async def test_a_slot_that_is_added_counts_from_then_on_and_a_removed_one_no_more(
    store: ThreadedStore,
) -> None:
    clock, eth = FakeClock(START), SlotName("ETH", "5m")
    flow = collector(store, clock)
    await flow.begin()
    flow.take(trade(0, 1, 5.0, TOP, coin="ETH"))
    await flow.add(eth, 0)
    flow.take(trade(0, 2, 2.0, TOP, coin="ETH"))
    flow.take(trade(0, 1, 1.0, TOP))
    assert flow.coins == {"BTC", "ETH"}
    await flow.settle(eth, START)
    assert (await kept(store, [2.0], eth))[0].tolist() == [2.0, 0.0]
    flow.remove(eth)
    flow.take(trade(1, 3, 2.0, TOP, coin="ETH"))
    assert flow.coins == {"BTC"}
    await flow.settle(BTC, START)
    assert (await kept(store, [1.0]))[0].tolist() == [1.0, 0.0]


async def test_trades_that_come_while_a_bar_is_stored_do_no_harm(store: ThreadedStore) -> None:
    flow = CohortFlow(None, (BTC,), store, VenueClock(FakeClock(START)), keep_ms=10 * STEP)
    await flow.begin()
    takers = itertools.count()

    def take() -> None:
        number = next(takers)
        flow.take(trade(0, number, 1.0 + number % 7, f"0x{number:040x}"))

    for _ in range(40_000):
        take()
    settling = asyncio.create_task(flow.settle(BTC, START))
    while not settling.done():
        take()
        await asyncio.sleep(0)
    await settling
    rows = await store.call(lambda s: taker_table.read(s.database, BTC, 0, 2**60))
    assert len(rows.signed) == taker_table.MOST_TAKERS

"""Longer bars from shorter ones: the rules, and what the venue itself recorded."""

import functools
import itertools
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Bar, Provenance
from daemon.market_data.longer.aggregation import longer_bars, merged, sources
from daemon.store.bar_merge import Stored
from hyperdrift.slot_name import INTERVAL_MS, SlotName

DATA = Path(os.environ.get("HYPERDRIFT_DATA", "../shared/data/hyperliquid"))
SLICES = DATA.parents[1] / "fixtures" / "hyperliquid" / "ohlcv"
STEP, HOUR = INTERVAL_MS["5m"], INTERVAL_MS["1h"]
# The venue's candle service began anew at 10:50 UTC on 2025-04-20: its longer bars of that
# hour, half day and day have only the trades after that.
INCIDENT_MS = 1_745_146_200_000
REST, STREAM, FILLED = Provenance.REST, Provenance.STREAM, Provenance.FILLED


def flat(t: int, price: float) -> Bar:
    return Bar(t, price, price, price, price, 0.0)


@functools.cache
def recorded(name: str) -> dict[int, Bar]:
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no recording {path}; HYPERDRIFT_DATA may name the folder that has it")
    columns = pq.read_table(path).to_pydict()
    names = ("t", "open", "high", "low", "close", "volume")
    return {row[0]: Bar(*row) for row in zip(*(columns[one] for one in names), strict=True)}


def pairs(
    shorter: dict[int, Bar], longer: dict[int, Bar], step_ms: int, longer_ms: int
) -> Iterator[tuple[Bar, Bar]]:
    """Yield our bar and the venue's, for each that the shorter ones cover."""
    copies = [Stored(bar, REST, 0) for bar in shorter.values()]
    ours = longer_bars(copies, step_ms, longer_ms, longer).whole
    yield from ((bar, longer[bar.t]) for bar in ours)


@pytest.mark.parametrize(
    ("shorter", "longer", "bars"),
    [
        ("5m", "1h", 3210),
        ("5m", "12h", 267),
        ("5m", "1d", 133),
        ("1h", "12h", 649),
        ("1h", "1d", 324),
        ("12h", "1d", 1302),
    ],
)
def test_merged_bars_equal_the_recorded_ones_of_the_venue(
    shorter: str, longer: str, bars: int
) -> None:
    of, to = recorded(f"BTC-{shorter}"), recorded(f"BTC-{longer}")
    length = INTERVAL_MS[longer]
    both = list(pairs(of, to, INTERVAL_MS[shorter], length))
    assert len(both) == bars
    differing = [ours.t for ours, theirs in both if ours != theirs]
    assert differing in ([], [INCIDENT_MS // length * length])
    assert differing or shorter == "12h"


def test_the_one_bar_that_differs_has_only_the_trades_after_the_venues_incident() -> None:
    of, to = recorded("BTC-5m"), recorded("BTC-1h")
    t = INCIDENT_MS // HOUR * HOUR
    assert merged([of[at] for at in range(INCIDENT_MS, t + HOUR, STEP)], t) == to[t]


@pytest.mark.parametrize(
    "name",
    [
        "BTC_perp_1m_5m_2025-07-26",
        "FTT_perp_thin_1m_5m_2025-07-26",
        "PURR_spot_1m_5m_2025-07-26",
    ],
)
def test_merged_bars_equal_the_venues_also_for_thin_coins(name: str) -> None:
    path = SLICES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no recording {path}; HYPERDRIFT_DATA may name the folder beside it")
    series = {
        one["interval"]: {row[0]: Bar(*row) for row in one["rows"]}
        for one in json.loads(path.read_text())["series"]
    }
    both = list(pairs(series["1m"], series["5m"], INTERVAL_MS["1m"], STEP))
    assert len(both) >= 47
    assert all(ours == theirs for ours, theirs in both)


def test_bars_without_trades_set_no_price() -> None:
    bars = [flat(0, 90.0), Bar(STEP, 100.0, 103.0, 99.0, 101.0, 2.0, 3), flat(2 * STEP, 101.0)]
    assert merged(bars, 0) == Bar(0, 100.0, 103.0, 99.0, 101.0, 2.0, 3)


def test_bars_without_any_trade_keep_their_prices() -> None:
    moving = [Bar(0, 9.0, 9.0, 8.0, 8.0, 0.0), Bar(STEP, 8.0, 10.0, 8.0, 10.0, 0.0)]
    assert merged(moving, 0) == Bar(0, 9.0, 10.0, 8.0, 10.0, 0.0)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**14), min_size=1, max_size=288), st.integers(0, 8))
def test_volumes_are_added_as_decimals(units: list[int], decimals: int) -> None:
    bars = [
        Bar(k, 1.0, 1.0, 1.0, 1.0, float(Decimal(n).scaleb(-decimals))) for k, n in enumerate(units)
    ]
    assert merged(bars, 0).volume == float(Decimal(sum(units)).scaleb(-decimals))


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([REST, STREAM, FILLED, Provenance.IMPORT, None]), max_size=36),
    st.randoms(use_true_random=False),
)
def test_a_longer_bar_is_whole_only_if_every_shorter_one_is_of_record(kinds, random) -> None:
    copies = [
        Stored(flat(k * STEP, 5.0) if kind is FILLED else bar(k), kind, 0)
        for k, kind in enumerate(kinds)
        if kind
    ]
    random.shuffle(copies)
    times = range(0, len(kinds) * STEP, HOUR)
    got = longer_bars(copies, STEP, HOUR, times)
    sorted_in = [b.t for b in got.whole], [b.t for b, _ in got.provisional], got.lacking
    assert sorted(itertools.chain(*sorted_in)) == list(times)
    record = max((k for k, kind in enumerate(kinds) if kind is REST), default=-1)
    for t in times:
        first = t // STEP
        parts = kinds[first : first + 12]
        parts += [None] * (12 - len(parts))
        tail = parts[max(0, record + 1 - first) :]
        head = parts[: max(0, record + 1 - first)]
        if set(parts) == {REST}:
            assert t in sorted_in[0]
        elif set(head) <= {REST} and set(tail) <= {STREAM, FILLED}:
            assert t in sorted_in[1]
        else:
            assert t in sorted_in[2]
    for longer, provenance in got.provisional:
        parts = kinds[longer.t // STEP : longer.t // STEP + 12]
        assert provenance is (FILLED if set(parts) == {FILLED} else STREAM)
        assert (longer.volume == 0) == (provenance is FILLED)


def bar(number: int) -> Bar:
    return Bar(number * STEP, 100.0, 101.0, 99.0, 100.5, 0.1, 2)


def test_a_slot_takes_its_bars_from_the_shortest_that_divides_it() -> None:
    followed = [SlotName("BTC", i) for i in ("3m", "5m", "15m", "1h", "12h", "1d")]
    followed += [SlotName("ETH", "1m"), SlotName("ETH", "1d")]
    found = {str(slot): source and str(source) for slot, source in sources(followed).items()}
    assert found == {
        "BTC-3m": None,
        "BTC-5m": None,
        "BTC-15m": "BTC-3m",
        "BTC-1h": "BTC-3m",
        "BTC-12h": "BTC-3m",
        "BTC-1d": "BTC-3m",
        "ETH-1m": None,
        "ETH-1d": "ETH-1m",
    }

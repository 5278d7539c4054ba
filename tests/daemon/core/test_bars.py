"""The one rule for bars: what has no fault can be stored, and its features can be computed."""

import math
import re
from itertools import cycle, islice
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Bar, Funding, Provenance
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName
from retrain import features

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
BAR = Bar(STEP, 100.0, 101.0, 99.0, 100.5, 7.0, 3)
N_BARS = features.WARMUP_BARS + 40
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 5e-324, 1e-300, 1e-12, 1e12, 1e18, 1.01e18, 1e300, -1.0, 100.0]
)
prices = st.floats(1e-12, 1e12) | numbers
flat = st.builds(lambda price: (price,) * 4, prices)
ordered = (
    st.lists(prices, min_size=4, max_size=4).map(sorted).map(lambda p: (p[1], p[3], p[0], p[2]))
)
bars = st.builds(
    lambda four, volume: Bar(0, four[0], four[1], four[2], four[3], volume),
    flat | ordered | st.tuples(prices, prices, prices, prices),
    st.floats(0, 1e18) | numbers,
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"close": math.nan}, "not a finite number"),
        ({"high": 1e300}, "not between 1e-12 and 1e\\+12"),
        ({"open": 1e-13, "low": 1e-13}, "not between"),
        ({"low": 0.0}, "not positive"),
        ({"volume": 1e300}, "volume is above 1e\\+18"),
        ({"volume": -1.0}, "volume is negative"),
        ({"low": 100.2}, "outside low..high"),
        ({"t": 10**13}, "no time in ms"),
        ({"t": 2**70}, "no time in ms"),
        ({"t": -STEP}, "no time in ms"),
        ({"n": 2**63}, "count of trades"),
        ({"n": -1}, "count of trades"),
    ],
)
def test_an_impossible_number_is_a_fault_that_names_it(change: dict[str, Any], reason: str) -> None:
    assert re.search(reason, str(msgspec.structs.replace(BAR, **change).fault()))


def test_the_edges_of_the_possible_are_no_fault() -> None:
    assert BAR.fault() is None
    assert Bar(0, 1e-12, 1e12, 1e-12, 1e12, 1e18, 2**53).fault() is None
    assert Funding(HOUR_MS, -1.0).fault() is None


@pytest.mark.parametrize("rate", [1.01, math.nan, math.inf, 1e300])
def test_a_rate_of_more_than_the_whole_position_an_hour_is_a_fault(rate: float) -> None:
    assert "beyond 1" in str(Funding(HOUR_MS, rate).fault())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(bars, min_size=1, max_size=7), st.sampled_from([1e-5, 1.0, -1.0, math.nan]))
def test_bars_without_a_fault_have_features_that_every_model_can_take(
    some: list[Bar], rate: float
) -> None:
    sound = [bar for bar in some if bar.fault() is None] or [BAR]
    many = list(islice(cycle(sound), N_BARS))
    frame = {name: np.array([getattr(bar, name) for bar in many]) for name in
             ("open", "high", "low", "close", "volume")}  # fmt: skip
    flow = np.where(np.arange(N_BARS) % 3, 1e18, -frame["volume"])
    frame |= {"t": STEP * np.arange(N_BARS), "funding": np.full(N_BARS, rate)}
    rows = features.compute(frame | {"s_top": flow, "s_bot": -flow})
    known = np.isfinite(rows)
    assert (known.all(axis=1) | np.isnan(rows).all(axis=1)).all()
    assert (np.abs(rows[known]) < LARGEST_FLOAT32).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(bars)
def test_the_features_accept_whatever_has_no_fault(bar: Bar) -> None:
    if bar.fault() is None:
        alone = {name: [getattr(bar, name)] for name in ("open", "high", "low", "close", "volume")}
        assert features.possible(alone).all()


def test_an_impossible_bar_in_a_damaged_file_is_a_hole_and_not_an_error() -> None:
    with Store(":memory:") as store:
        some = [Bar(STEP * k, 100.0, 101.0, 99.0, 100.5, 7.0) for k in range(1, N_BARS)]
        store.put_bars(SLOT, some, Provenance.REST)
        store.put_funding("BTC", [Funding(STEP, 1e-5)])
        with store.database.writing() as db:
            db.execute("UPDATE bars SET high = 1e300 WHERE t = ?", (STEP * 20,))
            db.execute("UPDATE funding SET rate = 1e300")
        frame = store.frame(SLOT)
        assert len(frame["t"]) == N_BARS - 2
        assert STEP * 20 not in frame["t"]
        assert np.isnan(features.compute(frame)).all()

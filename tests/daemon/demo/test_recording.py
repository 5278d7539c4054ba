import numpy as np
import pytest

from daemon.demo.recording import Recording
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS
from tests.daemon.demo.markets import MINUTES_5, START_MS, market


def two_bars(**changes: object) -> Recording:
    columns: dict[str, object] = {
        "t": np.array([START_MS, START_MS + MINUTES_5]),
        "open": np.array([10.0, 11.0]),
        "high": np.array([12.0, 12.0]),
        "low": np.array([9.0, 10.0]),
        "close": np.array([11.0, 10.5]),
        "volume": np.array([1.0, 0.0]),
        "n": np.array([3, 0]),
        "funding_t": np.array([START_MS + 40]),
        "funding_rate": np.array([0.0000125]),
    }
    return Recording("BTC", "5m", **(columns | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"t": np.array([START_MS, START_MS])}, "t must ascend"),
        ({"t": np.array([START_MS, START_MS + 1000])}, "interval's grid"),
        ({"high": np.array([10.5, 12.0])}, "outside low..high"),
        ({"low": np.array([10.5, 10.0])}, "outside low..high"),
        ({"close": np.array([np.nan, 10.5])}, "outside low..high"),
        ({"high": np.array([np.inf, 12.0])}, "not a finite number"),
        ({"low": np.array([0.0, 10.0])}, "not positive"),
        ({"volume": np.array([-1.0, 0.0])}, "negative"),
        ({"volume": np.array([np.nan, 0.0])}, "not a finite number"),
        ({"n": np.array([3])}, "differ in length"),
        ({"funding_rate": np.zeros(0)}, "more times than rates"),
        (
            dict.fromkeys(("t", "open", "high", "low", "close", "volume", "n"), np.zeros(0)),
            "no bars",
        ),
    ],
)
def test_a_market_that_cannot_be_is_refused(changes: dict[str, object], text: str) -> None:
    two_bars()
    with pytest.raises(BadInput, match=text):
        two_bars(**changes)


def test_a_cut_keeps_the_bars_asked_for_and_all_funding() -> None:
    whole = market(50)
    cut = whole.between(int(whole.t[10]), int(whole.t[20]))
    assert cut.t.tolist() == whole.t[10:20].tolist()
    assert cut.close.tolist() == whole.close[10:20].tolist()
    assert len(cut.funding_t) == len(whole.funding_t)
    with pytest.raises(BadInput, match="no bars"):
        whole.between(0, 1)


def test_an_hour_adds_up_its_traded_bars() -> None:
    five = market(48, quiet=(12, 17, 23))
    hours = five.resampled("1h")
    assert hours.t.tolist() == [START_MS + k * HOUR_MS for k in range(4)]
    traded = [bar for bar in range(12, 24) if five.volume[bar] > 0]
    assert hours.open[1] == five.open[13]
    assert hours.close[1] == five.close[22]
    assert hours.high[1] == five.high[traded].max()
    assert hours.low[1] == five.low[traded].min()
    assert hours.volume[1] == pytest.approx(five.volume[traded].sum())
    assert hours.n[1] == five.n[traded].sum()


def test_a_flat_bar_far_from_the_trades_moves_no_extreme() -> None:
    five = market(24)
    five.volume[5] = 0
    for name in ("open", "high", "low", "close"):
        getattr(five, name)[5] = 1.0
    assert five.resampled("1h").low[0] > 1.0


def test_an_hour_without_any_trade_stays_flat() -> None:
    hours = market(36, quiet=tuple(range(12, 24))).resampled("1h")
    assert hours.volume[1] == 0
    assert hours.high[1] == hours.low[1] == hours.close[0]


def test_an_interval_that_the_bars_do_not_add_up_to_is_refused() -> None:
    with pytest.raises(BadInput, match="does not add up to 3m"):
        market(24).resampled("3m")

"""The earning of signals and trades, looked at after every one."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import events
from monitor.actions import Action, Alert, Publish
from monitor.earning import LEAST, EarningRecord, _half_width
from monitor.engine import Engine
from monitor.errors import BadObservation
from monitor.policy import PolicySettings


def record(gains: list[float]) -> EarningRecord:
    made = EarningRecord()
    for gain in gains:
        made.update(gain)
    return made


def test_without_returns_nothing_is_said() -> None:
    assert EarningRecord().earned().document() == {
        "count": 0,
        "mean_bp": None,
        "low_bp": None,
        "high_bp": None,
        "verdict": "too few",
    }


def test_the_first_interval_comes_with_the_thirtieth_return() -> None:
    gains = [0.001, -0.001] * LEAST
    assert record(gains[: LEAST - 1]).earned().verdict == "too few"
    assert record(gains[:LEAST]).earned().verdict == "not shown"


@pytest.mark.parametrize(("shift", "verdict"), [(0.002, "shown"), (-0.002, "loses")])
def test_a_mean_that_is_surely_beside_zero_is_called_so(shift: float, verdict: str) -> None:
    gains = np.random.default_rng(1).normal(shift, 0.003, 200)
    earned = record(list(gains)).earned()
    assert earned.verdict == verdict
    assert earned.mean_bp == pytest.approx(gains.mean() * 1e4)


@given(st.lists(st.floats(-0.2, 0.2), min_size=LEAST, max_size=90))
def test_the_interval_is_that_of_the_formula_around_the_mean(gains: list[float]) -> None:
    earned = record(gains).earned()
    assert earned.low_bp is not None
    assert earned.high_bp is not None
    assert (earned.low_bp + earned.high_bp) / 2 == pytest.approx(np.mean(gains) * 1e4, abs=1e-6)
    half = np.std(gains, ddof=1) * _half_width(len(gains)) * 1e4
    assert (earned.high_bp - earned.low_bp) / 2 == pytest.approx(half, abs=1e-6)


def left_out(draw: np.ndarray) -> float:
    """Share of the records, (n, looks), whose interval left out 0 at some look."""
    count = np.arange(1, draw.shape[1] + 1)
    mean = np.cumsum(draw, axis=1) / count
    squares = np.cumsum(draw * draw, axis=1) - count * mean**2
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    half = deviation * np.array([_half_width(int(n)) for n in count])
    return float((abs(mean) > half)[:, LEAST - 1 :].any(axis=1).mean())


def test_of_records_without_a_mean_at_most_one_in_twenty_is_ever_called_otherwise() -> None:
    rng = np.random.default_rng(7)
    shape = (1000, 2000)
    assert left_out(rng.normal(size=shape)) <= 0.05
    assert left_out(rng.standard_t(3, size=shape)) <= 0.05
    fixed = 1.96 / math.sqrt(200)  # an interval for one look only is narrower
    assert 1.3 < _half_width(200) / fixed < 1.7


def trades_of(positions: int, parts: int) -> EarningRecord:
    """Return a record of positions without a mean, each closed in so many parts."""
    rng, made = np.random.default_rng(3), EarningRecord()
    for k, moved in enumerate(rng.normal(0, 0.01, positions).tolist()):
        opened_ms = 10 * k
        for part in range(1, parts + 1):
            made.update(moved, value=5.0, opened_ms=opened_ms, closed_ms=opened_ms + part)
    return made


def test_the_parts_of_a_position_are_one_return_and_no_evidence_of_their_own() -> None:
    few, many = trades_of(12, 9).earned(), trades_of(60, 9).earned()
    assert (few.count, few.verdict) == (12, "too few")
    assert many.count == 60
    assert many.low_bp == pytest.approx(trades_of(60, 1).earned().low_bp)


def test_trades_that_are_open_together_are_one_return_of_all_their_value() -> None:
    made = EarningRecord()
    made.update(0.03, value=100.0, opened_ms=0, closed_ms=20)
    made.update(-0.01, value=300.0, opened_ms=10, closed_ms=30)
    assert made.earned().count == 1
    assert made.earned().mean_bp == pytest.approx(0)
    made.update(0.02, value=50.0, opened_ms=20, closed_ms=40)  # as the first one closed
    assert made.earned().count == 2
    assert made.earned().mean_bp == pytest.approx(100)


def test_a_file_with_the_newest_trades_first_has_as_many_returns() -> None:
    made = EarningRecord()
    for k in reversed(range(5)):
        made.update(0.01, opened_ms=10 * k, closed_ms=10 * k + 10)
    assert made.earned().count == 5


def test_a_return_that_is_no_number_is_refused() -> None:
    with pytest.raises(BadObservation, match="gain"):
        EarningRecord().update(math.nan)


SLOT, BAR_MS = "BTC-5m", 300_000


class Market:
    """An engine whose model gives a signal on every bar, and a price that moves as told."""

    def __init__(self) -> None:
        self.engine = Engine(SLOT, PolicySettings(), interval_ms=BAR_MS, names=("f",))
        self.t, self.close = 0, 100.0
        self.out: list[Action] = []

    def serve(self, model_id: str, **fields: Any) -> None:
        served = events.ModelServed(
            slot=SLOT,
            at_ms=self.t,
            model_id=model_id,
            previous_id=None,
            reason="deployed",
            trained_to_ms=0,
            horizon_bars=1,
            threshold=0.005,
            up=0.4,
            down=0.4,
            **fields,
        )
        self.out += self.engine.handle(served)
        self.model_id = model_id

    def bars(self, count: int, gain: float) -> None:
        """Give bars, each with a signal UP; the price moves by `gain` after it."""
        for _ in range(count):
            self.t += BAR_MS
            self.close *= 1 + gain
            bar = events.BarScored(
                slot=SLOT,
                at_ms=self.t,
                t=self.t,
                close=self.close,
                row=(0.0,),
                model_id=self.model_id,
                p=(0.1, 0.2, 0.7),
            )
            self.out += self.engine.handle(bar)

    def trade(self, number: int, opened_ms: int, **fields: Any) -> None:
        closed = events.TradeClosed(
            slot=SLOT,
            at_ms=self.t,
            trade_id=str(number),
            side="buy",
            opened_ms=opened_ms,
            closed_ms=self.t,
            **fields,
        )
        self.out += self.engine.handle(closed)

    def earning(self) -> dict[str, Any]:
        return self.engine.snapshot().earning

    def told(self) -> list[Publish]:
        return [o for o in self.out if isinstance(o, Publish) and o.kind == "earning"]


def test_signals_earn_what_the_price_does_less_a_round_trip_of_their_model() -> None:
    market = Market()
    market.serve("m1", round_trip_bps=3.0)
    market.bars(41, 0.002)
    signals = market.earning()["signals"]
    assert signals["of_model"]["count"] == 40
    assert signals["of_model"]["mean_bp"] == pytest.approx(20 - 3)
    assert signals["of_model"] == signals["since_start"]
    assert signals["of_model"]["verdict"] == "shown"


def test_a_new_model_begins_at_nothing_and_what_counts_since_the_start_goes_on() -> None:
    market = Market()
    market.serve("m1")
    market.bars(11, 0.002)
    market.serve("m2")
    market.bars(6, -0.001)
    signals = market.earning()["signals"]
    assert (signals["of_model"]["count"], signals["since_start"]["count"]) == (5, 15)
    assert signals["of_model"]["mean_bp"] == pytest.approx(-10 - 9)


def test_a_model_that_surely_loses_is_told_once_with_an_alert() -> None:
    market = Market()
    market.serve("m1")
    market.bars(60, 0.0)  # a round trip for nothing
    (told,) = market.told()
    assert "signals: -9.0 bp each after costs, 95 % -9.0 to -9.0 on 30: loses" in told.text
    assert [o for o in market.out if isinstance(o, Alert) and "loses" in o.text]


def test_trades_earn_their_profit_over_their_value_and_older_ones_count_since_the_start() -> None:
    market = Market()
    market.t = 10 * BAR_MS
    market.serve("m1")
    market.trade(1, opened_ms=0, pnl=1.0, notional=1000.0)
    market.trade(2, opened_ms=market.t, pnl=-2.0, notional=1000.0)
    market.trade(3, opened_ms=market.t, pnl=-2.0)  # its value is not known
    trades = market.earning()["trades"]
    assert (trades["of_model"]["count"], trades["of_model"]["mean_bp"]) == (1, pytest.approx(-20))
    assert (trades["since_start"]["count"], trades["since_start"]["mean_bp"]) == (
        2,
        pytest.approx(-5),
    )


def test_parts_of_one_position_of_the_bot_are_no_verdict() -> None:
    market = Market()
    market.t = 10 * BAR_MS
    market.serve("m1")
    opened_ms, market.t = market.t, 11 * BAR_MS
    for number in range(2 * LEAST):
        market.trade(number, opened_ms=opened_ms, pnl=-2.0, notional=1000.0)
    of_model = market.earning()["trades"]["of_model"]
    assert (of_model["count"], of_model["verdict"]) == (1, "too few")
    assert of_model["mean_bp"] == pytest.approx(-20)
    assert not market.told()

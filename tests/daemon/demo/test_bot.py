import pytest

from daemon.core.bars import Bar
from daemon.demo.bot import FEE, NOTIONAL, PaperTrader
from hyperdrift.slot import Prediction
from hyperdrift.slot_name import SlotName

SLOT = SlotName("BTC", "5m")
DOWN, NEUTRAL, UP = (Prediction("m", 0.1, 0.8, 0.1, decision) for decision in range(3))


def bar(n: int, close: float) -> Bar:
    return Bar(n * SLOT.interval_ms, close, close, close, close, 1.0)


@pytest.mark.parametrize(("signal", "side", "sign"), [(UP, "buy", 1), (DOWN, "sell", -1)])
def test_a_signal_opens_a_position_that_closes_after_the_horizon_with_fees_taken_off(
    signal: Prediction, side: str, sign: int
) -> None:
    trader = PaperTrader(SLOT, horizon=3)
    assert trader.take(bar(0, 100.0), signal) is None
    assert trader.take(bar(1, 500.0), NEUTRAL) is None
    assert trader.take(bar(2, 10.0), signal) is None, "one position at a time"
    trade = trader.take(bar(3, 110.0), None)
    assert trade is not None
    size = NOTIONAL / 100.0
    fee = FEE * size * 210.0
    assert (trade.side, trade.entry, trade.exit, trade.size) == (side, 100.0, 110.0, size)
    assert trade.fee == pytest.approx(fee)
    assert trade.pnl == pytest.approx(sign * 10.0 * size - fee)
    assert (trade.opened_ms, trade.closed_ms) == (SLOT.interval_ms, 4 * SLOT.interval_ms)


def test_no_signal_and_no_model_open_nothing() -> None:
    trader = PaperTrader(SLOT, horizon=1)
    for n, prediction in enumerate((NEUTRAL, None, NEUTRAL)):
        assert trader.take(bar(n, 100.0), prediction) is None


def test_a_new_position_may_open_on_the_bar_that_closes_the_last_one() -> None:
    trader = PaperTrader(SLOT, horizon=1)
    trader.take(bar(0, 100.0), UP)
    first, second = trader.take(bar(1, 101.0), DOWN), trader.take(bar(2, 99.0), None)
    assert first is not None
    assert second is not None
    assert (first.side, second.side, second.entry) == ("buy", "sell", 101.0)

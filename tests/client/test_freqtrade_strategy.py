"""The example for freqtrade, without freqtrade: its features are those of the daemon."""

import importlib.util
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperdrift.features import FEATURE_NAMES, LIVE_BARS, funding_as_of
from hyperdrift.slot_name import HOUR_MS, INTERVAL_MS

FILE = Path(__file__).parents[2] / "examples" / "freqtrade" / "HyperdriftStrategy.py"
FIRST_MS = 1_750_032_000_000  # at midnight, UTC


class Slot:
    """A slot that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []

    def predict(self, row: list[float]) -> Any:
        self.asked.append(row)
        return SimpleNamespace(decision=1)


@pytest.fixture
def strategy(monkeypatch: pytest.MonkeyPatch) -> Any:
    package, module = types.ModuleType("freqtrade"), types.ModuleType("freqtrade.strategy")
    module.IStrategy = object  # type: ignore[attr-defined]  # what a module of ours asks it for
    monkeypatch.setitem(sys.modules, "freqtrade", package)
    monkeypatch.setitem(sys.modules, "freqtrade.strategy", module)
    spec = importlib.util.spec_from_file_location("HyperdriftStrategy", FILE)
    assert spec is not None
    assert spec.loader is not None
    loaded: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.HyperdriftStrategy()


@pytest.mark.parametrize("interval", ["5m", "1h", "12h", "1d"])
def test_a_bar_of_any_length_has_the_funding_rate_that_the_daemon_knows_at_its_close(
    strategy: Any, interval: str
) -> None:
    length, rng = INTERVAL_MS[interval], np.random.default_rng(1)
    t = FIRST_MS + length * np.arange(LIVE_BARS)
    close = 100 * np.exp(rng.normal(0, 0.01, LIVE_BARS).cumsum())
    hours = np.arange(t[0], t[-1] + length, HOUR_MS)
    rates = rng.normal(0, 1e-5, len(hours))
    candles = pd.DataFrame({"date": pd.to_datetime(t, unit="ms", utc=True), "t": t})
    candles = candles.assign(open=close, high=close, low=close, close=close, volume=1.0)
    known = pd.DataFrame({"date": pd.to_datetime(hours, unit="ms", utc=True), "open": rates})
    slot = Slot()
    strategy.dp = SimpleNamespace(get_pair_dataframe=lambda *_: known)
    strategy.timeframe, strategy.slots = interval, {f"BTC-{interval}": slot}
    strategy.ask(f"BTC-{interval}", candles, {"pair": "BTC/USDC:USDC"})
    # The venue stamps a settlement some ms after the hour.
    expected = funding_as_of(t + length, hours + 17, rates)
    assert slot.asked[0][FEATURE_NAMES.index("funding_rate")] == expected[-1]

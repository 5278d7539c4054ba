"""A bot's formulas are the daemon's to the last bit, and one source has both."""

import numpy as np
import pytest

from docs.generate import formulas
from hyperdrift import features as ours
from hyperdrift.errors import BadInput
from retrain import features as theirs


def frame(seed: int, bars: int = 700) -> dict[str, np.ndarray]:
    """Return random bars with a hole, still prices, bars without volume and unknown funding."""
    rng = np.random.default_rng(seed)
    t = np.arange(bars) * 300_000
    t[rng.integers(1, 50) :] += 600_000
    step = rng.normal(0, 0.002, bars) * (rng.random(bars) > 0.2)
    close = 10 ** rng.uniform(-3, 5) * np.exp(np.cumsum(step))
    open_ = np.concatenate((close[:1], close[:-1]))
    reach = np.exp(np.abs(rng.normal(0, 0.001, (2, bars))))
    volume = rng.lognormal(3, 2, bars) * (rng.random(bars) > 0.1)
    funding = rng.normal(0, 1e-5, bars)
    funding[:20] = np.nan
    return {
        "t": t,
        "open": open_,
        "high": np.maximum(open_, close) * reach[0],
        "low": np.minimum(open_, close) / reach[1],
        "close": close,
        "volume": volume,
        "funding": funding,
        "s_top": volume * rng.uniform(-1, 1, bars),
        "s_bot": volume * rng.uniform(-1, 1, bars),
    }


@pytest.mark.parametrize("seed", range(8))
def test_a_bot_computes_the_daemons_features_to_the_last_bit(seed: int) -> None:
    bars = frame(seed)
    found, wanted = ours.compute(bars), theirs.compute(bars)
    assert np.isfinite(wanted[-1]).all()
    assert found.tobytes() == wanted.tobytes()


def test_names_and_schema_hash_of_the_features_are_the_daemons() -> None:
    assert ours.FEATURE_NAMES == theirs.NAMES
    assert ours.schema_hash() == theirs.schema_hash()
    assert ours.LIVE_BARS == theirs.LIVE_BARS


def test_bars_that_cannot_be_used_are_an_error_of_the_clients_own() -> None:
    bars = frame(1)
    bars["high"][3] = 0
    with pytest.raises(BadInput, match=r"high is 0\.0 in row 3"):
        ours.compute(bars)
    with pytest.raises(BadInput, match="2 funding times for 1 rates"):
        ours.funding_as_of(np.array([3]), np.array([1, 2]), np.array([0.1]))


def test_a_copy_of_an_older_formula_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert formulas.stale() == {}
    monkeypatch.setattr(formulas, "_NOTE", "# another line for {}\n")
    assert {path.name for path in formulas.stale()} == {
        "bar_limits.py",
        "features.py",
        "windows.py",
    }

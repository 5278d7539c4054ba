"""A market with a signal in it: what the top cohort does shows where the price will go."""

import numpy as np
from numpy.typing import NDArray

from retrain.job import Job
from retrain.stacking.stack import Recipe
from tests.retrain.market import FIVE_MINUTES_MS, Frame

HORIZON = 6
THRESHOLD = 0.005
SMALL = Recipe(gb_trees=12, rf_trees=8, et_trees=8, hgb_trees=12, bins=32, folds=3)


def planted(n_bars: int, seed: int, *, strength: float = 8e-4) -> Frame:
    """Make bars whose price follows, for some hours at a time, what the cohort's flow shows.

    `strength` 0 leaves a market about which nothing can be known.
    """
    rng = np.random.default_rng(seed)
    side = np.repeat(rng.integers(-1, 2, n_bars // 24 + 1), 24)[:n_bars].astype(float)
    close = 100 * np.exp(np.cumsum(strength * side + rng.normal(0, 1.5e-3, n_bars)))
    opened = np.concatenate((close[:1], close[:-1]))
    volume = rng.lognormal(3, 0.5, n_bars)
    wick = np.abs(rng.normal(0, 5e-4, n_bars)) * close
    return {
        "t": 1_750_000_000_000 + np.arange(n_bars) * FIVE_MINUTES_MS,
        "open": opened,
        "high": np.maximum(opened, close) + wick,
        "low": np.minimum(opened, close) - wick,
        "close": close,
        "volume": volume,
        "funding": np.repeat(rng.normal(1e-5, 1e-5, n_bars // 12 + 1), 12)[:n_bars],
        "s_top": volume * np.clip(0.3 * side + rng.normal(0, 0.3, n_bars), -1, 1),
        "s_bot": volume * rng.uniform(-0.5, 0.5, n_bars),
    }


def well_known(n_bars: int, seed: int, *, known: float = 0.95) -> Frame:
    """Make bars of which the cohort's flow nearly tells the return of the next twelve.

    About a third of them is NEUTRAL at the threshold of 0.5 % and twelve bars.

    Args:
        n_bars: How many.
        seed: Of the random numbers.
        known: The correlation of the flow with the return that it tells of; 0 for none.
    """
    rng = np.random.default_rng(seed)
    ahead = 12
    moves = rng.normal(size=n_bars + ahead)
    told = known * moves[ahead:] + np.sqrt(1 - known**2) * rng.normal(size=n_bars)
    frame = planted(n_bars, seed, strength=0)
    close = 100 * np.exp(np.cumsum(3.5e-3 * moves[:n_bars]))
    opened = np.concatenate((close[:1], close[:-1]))
    volume = rng.lognormal(3, 0.1, n_bars)
    return frame | {
        "open": opened,
        "high": np.maximum(opened, close) * 1.0005,
        "low": np.minimum(opened, close) * 0.9995,
        "close": close,
        "volume": volume,
        "s_top": volume * np.clip(told / 4, -1, 1),
    }


def job(frame: Frame, **changes: object) -> Job:
    """Make a small job on these bars."""
    settings: dict[str, object] = {
        "slot": "TEST-5m",
        "interval": "5m",
        "horizon_bars": HORIZON,
        "threshold": THRESHOLD,
        "at_ms": int(frame["t"][-1]) + FIVE_MINUTES_MS,
        "frame": frame,
        "recipe": SMALL,
        "jobs": 1,
    }
    return Job(**(settings | changes))  # type: ignore[arg-type]  # a test's job is what it says


def rows(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Make independent rows of 17 features, of which the first two decide the label."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 17))
    lean = features[:, 0] + 0.5 * features[:, 1] + rng.normal(0, 0.7, n)
    labels = np.where(lean > 1, 2, np.where(lean < -1, 0, 1)).astype(np.int8)
    return features, labels

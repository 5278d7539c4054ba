"""Made-up bars, and the recorded ones where they are present."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrain import features

Frame = dict[str, NDArray[np.float64]]

FIVE_MINUTES_MS = 300_000
ROOT = Path(__file__).parents[2]
RECORDINGS = Path(os.environ.get("HYPERDRIFT_DATA", ROOT / "../shared/data/hyperliquid"))


def made_up(
    n_bars: int,
    seed: int,
    *,
    tick: float = 0.01,
    flat_frac: float = 0.0,
    silent_frac: float = 0.0,
    constant_volume: bool = False,
) -> Frame:
    """Make a random walk on a price grid, some stretches without movement or without trades."""
    rng = np.random.default_rng(seed)
    # Stretches of 20 bars, so that whole windows get to see nothing but stillness.
    flat = np.repeat(rng.random(n_bars // 20 + 1) < flat_frac, 20)[:n_bars]
    silent = np.repeat(rng.random(n_bars // 20 + 1) < silent_frac, 20)[:n_bars]
    steps = np.where(flat, 0.0, rng.standard_t(4, n_bars) * 1e-3)
    close = np.maximum(tick, np.round(100 * np.exp(np.cumsum(steps)) / tick) * tick)
    opened = np.concatenate((close[:1], close[:-1]))
    wick = np.where(flat, 0, rng.integers(0, 5, n_bars)) * tick
    volume = np.full(n_bars, 7.3) if constant_volume else rng.lognormal(3, 1, n_bars)
    volume = np.where(silent, 0.0, volume)
    return {
        "t": 1_750_000_000_000 + np.arange(n_bars) * FIVE_MINUTES_MS,
        "open": opened,
        "high": np.maximum(opened, close) + wick,
        "low": np.maximum(np.minimum(opened, close) - wick, tick / 2),
        "close": close,
        "volume": volume,
        "funding": np.repeat(rng.normal(1e-5, 1e-5, n_bars // 12 + 1), 12)[:n_bars],
        "s_top": volume * rng.uniform(-0.5, 0.5, n_bars),
        "s_bot": volume * rng.uniform(-0.5, 0.5, n_bars),
    }


def cut(frame: Frame, start: int, stop: int) -> Frame:
    return {name: column[start:stop] for name, column in frame.items()}


def recorded(slot: str, bar_ms: int = FIVE_MINUTES_MS) -> Frame:
    """Read a recording, or skip the test that needs it."""
    file = RECORDINGS / f"{slot}.parquet"
    if not file.exists():
        import pytest  # absent where another interpreter makes bars of this module

        pytest.skip(f"no recording {file.name}; HYPERDRIFT_DATA may name the folder that has it")
    bars = pd.read_parquet(file)
    rates = pd.read_parquet(RECORDINGS / f"{slot.rpartition('-')[0]}-funding.parquet")
    frame = {str(name): bars[name].to_numpy() for name in bars}
    frame["funding"] = features.funding_as_of(
        frame["t"] + bar_ms, rates["time"].to_numpy(), rates["rate"].to_numpy()
    )
    frame["s_top"] = frame["s_bot"] = np.zeros(len(bars))
    return frame

"""A market without a signal, and takers of whom a few know what comes."""

import numpy as np
from numpy.typing import NDArray

from retrain.cohorts.ranking import TakerFlows

HORIZON = 12
BARS_A_DAY = 288
SKILLED = 20
"""The first addresses are skilled: the first half of them as top, the others as bottom."""


def market(rng: np.random.Generator, n_bars: int, *, drift: float = 0.0) -> NDArray[np.float64]:
    """Return closes with fat tails and volatility that comes in clusters."""
    volatility = np.exp(0.2 * np.cumsum(rng.normal(0, 0.05, n_bars)))
    volatility = np.clip(volatility / np.median(volatility), 0.3, 5)
    moves = 0.0012 * volatility * rng.standard_t(4, n_bars) / np.sqrt(2)
    return np.asarray(1e5 * np.cumprod(1 + moves + drift))


def takers(
    seed: int,
    *,
    right: float = 0.5,
    days: int = 100,
    addresses: int = 3000,
    a_day: float = 2.0,
    skilled_a_day: float = 25.0,
) -> tuple[TakerFlows, NDArray[np.float64]]:
    """Return what addresses took, and the closes.

    Args:
        seed: Of the random numbers.
        right: Share of the skilled addresses' bars whose side the horizon's move confirms.
        days: Length in days of 5-minute bars.
        addresses: How many there are.
        a_day: Median number of bars in which an address takes, by day; it differs threefold.
        skilled_a_day: The same of the skilled ones.
    """
    rng = np.random.default_rng(seed)
    n_bars = days * BARS_A_DAY
    close = market(rng, n_bars)
    often = rng.lognormal(np.log(a_day), 1, addresses)
    often[:SKILLED] = skilled_a_day
    counts = rng.poisson(often * days)
    address = np.repeat(np.arange(addresses), counts)
    bar = rng.integers(0, n_bars, len(address))
    side = rng.choice([-1.0, 1.0], len(address))
    then = np.zeros(n_bars)
    then[:-HORIZON] = np.sign(close[HORIZON:] - close[:-HORIZON])
    knows = np.where(rng.random(len(address)) < right, 1, -1) * then[bar]
    knows = np.where(address < SKILLED // 2, knows, -knows)
    side = np.where((address < SKILLED) & (knows != 0), knows, side)
    return TakerFlows(address, bar, side * rng.lognormal(0, 1.2, len(address))), close

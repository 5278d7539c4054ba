"""Make up the markets of several coins that move together, as real coins do."""

from dataclasses import replace
from typing import Final

import numpy as np

from daemon.demo.market import draw_shocks, generate
from daemon.demo.recording import Floats, Recording
from hyperdrift.errors import BadInput

NAMES: Final = ("BTC", "ETH", "SOL", "HYPE", "XRP", "DOGE", "SUI", "LINK")
"""The first coins; further ones are called `C9`, `C10` and so on."""

_MOST_COINS: Final = 200
_SHARED: Final = 0.55  # of the variance of a coin's returns: the market moves it
_PRICES: Final = 6  # the first prices lie this many powers of ten apart at most
_FIGURES: Final = 5  # significant figures of a price
_SIZE_DECIMALS: Final = 5


def coin_name(place: int) -> str:
    """Return the name of the coin at a place, counted from 0."""
    return NAMES[place] if place < len(NAMES) else f"C{place + 1}"


def generate_coins(
    count: int,
    bars: int,
    interval_ms: int,
    seed: int,
    *,
    start_ms: int,
    change_at: int | None = None,
    turns: bool = True,
) -> tuple[Recording, ...]:
    """Make up `count` coins of one market, which changes for all of them at the same bar.

    More than half of the variance of each coin's returns comes from shocks that all coins share.
    The coins differ in price, and the first are traded most.

    Args:
        count: How many coins, from 1 to 200.
        bars: How many bars of each, at least 2.
        interval_ms: Length of a bar, ms.
        seed: The same seed gives the same markets.
        start_ms: Open time of the first bar, ms UTC, a multiple of the interval.
        change_at: Number of the first bar of the other regime; None for no change.
        turns: Whether what a model learns turns into its opposite there, as in `generate`.

    Raises:
        BadInput: If there are no coins or too many, the venue has no such interval, or `start_ms`
            is no multiple of it.
    """
    if not 1 <= count <= _MOST_COINS:
        msg = f"{count} coins cannot be made up; write a number from 1 to {_MOST_COINS}"
        raise BadInput(msg)
    market = draw_shocks(np.random.default_rng(seed), bars)
    return tuple(
        _scaled(
            generate(
                bars,
                interval_ms,
                seed + 1 + place,
                start_ms=start_ms,
                change_at=change_at,
                turns=turns,
                coin=coin_name(place),
                shared=(_SHARED, market),
            ),
            price=10.0 ** -(place % _PRICES),
            traded=1 / (1 + place),
        )
        for place in range(count)
    )


def _scaled(recording: Recording, *, price: float, traded: float) -> Recording:
    """Return a recording with other prices, and with a share of the value that is traded."""
    r = recording
    opened, high, low, close = (_rounded(p * price) for p in (r.open, r.high, r.low, r.close))
    return replace(
        r,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=np.round(r.volume * traded / price, _SIZE_DECIMALS),
        n=np.maximum(4, (r.n * traded).astype(np.int64)),
    )


def _rounded(prices: Floats) -> Floats:
    """Round to the significant figures of a price, without the error of the factor."""
    digits = np.clip(_FIGURES - 1 - np.floor(np.log10(prices)), 0, None).astype(int)
    return np.array([round(p, d) for p, d in zip(prices.tolist(), digits.tolist(), strict=True)])

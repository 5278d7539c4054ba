"""Make a market for the replay, by a generator or from a file.

A model that is trained on noise is rightly refused by the gates. So the generated market has
a pattern that a model can learn from the 17 features. At a chosen bar the pattern turns into
its opposite, and the daemon should find that.
"""

import glob
import re
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from scipy.signal import lfilter

from daemon.demo.recording import Floats, Ints, Recording
from daemon.ingest.tables.bar_tables import read_bars
from daemon.ingest.tables.funding_tables import read_funding
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, HOUR_MS, INTERVAL_MS, SlotName

__all__ = ["BASELINE_FUNDING", "Recording", "draw_shocks", "generate", "load"]

BASELINE_FUNDING: Final = 0.0000125
"""The venue's hourly rate while nobody pays a premium."""

_FIRST_PRICE = 60_000.0
_REFERENCE_MS = INTERVAL_MS["5m"]
_VOLATILITY = 0.0011  # of one 5m bar, a fraction of the price
_TREND_ALPHA = 1 / 8
_TAIL_DEGREES, _TAIL_CUT = 5.0, 8.0
_CYCLE = 0.25
_BASE_VOLUME = 30.0
_TRADES_PER_UNIT = 4.0
_FUNDING_PER_TREND, _FUNDING_NOISE, _FUNDING_CAP = 2e-5, 3e-6, 0.0005
_FUNDING_STAMP_MS = (1, 118)


class _Regime(NamedTuple):
    """The parameters of one part of the market."""

    edge: float  # next return per unit of recent trend: the trend goes on above 0, turns below
    scale: float  # factor of the returns
    volume: float  # factor of the volume
    tilt: float  # above 0 volume is higher in rises, below 0 in falls
    wick: float  # how far high and low lie outside open and close


_BEFORE = _Regime(edge=0.45, scale=1.0, volume=1.0, tilt=0.28, wick=0.4)
_AFTER = _Regime(edge=-0.8, scale=1.7, volume=2.2, tilt=-0.28, wick=1.2)


def generate(
    bars: int,
    interval_ms: int,
    seed: int,
    *,
    start_ms: int,
    change_at: int | None = None,
    turns: bool = True,
    coin: str = "BTC",
    shared: tuple[float, Floats] | None = None,
) -> Recording:
    """Make up a market whose recent trend says where the price goes next.

    The return is r(t) = edge m(t-1) + s(t) e(t). The trend m is an exponential average of r,
    and e is Student-t. The scale s is log-normal and autoregressive, with a daily cycle. From
    the bar `change_at` on, the edge is negative, and returns, wicks and volume are larger. The
    volume is then higher in falls instead of rises.

    Args:
        bars: How many bars to make, at least 2.
        interval_ms: Length of a bar, ms.
        seed: The same seed gives the same market.
        start_ms: Open time of the first bar, ms UTC, a multiple of the interval.
        change_at: Number of the first bar of the other regime; None for no change.
        turns: Whether the edge and the returns change; else wicks and volume alone do.
        coin: Name of the coin.
        shared: Shocks of a whole market, shape (bars,), and their share of the variance of the
            coin's own.

    Raises:
        BadInput: If the venue has no such interval, or `start_ms` is no multiple of it.
    """
    random = np.random.default_rng(seed)
    interval = _interval_of(interval_ms, f"{coin} of seed {seed}")
    t = start_ms + np.arange(bars, dtype=np.int64) * interval_ms
    cut = bars if change_at is None else min(max(change_at, 0), bars)
    other = _AFTER if turns else _AFTER._replace(edge=_BEFORE.edge, scale=_BEFORE.scale)
    spans = ((slice(0, cut), _BEFORE), (slice(cut, bars), other))
    scale, volumes, tilt, wick = (
        np.concatenate([np.full(t[span].size, getattr(regime, name)) for span, regime in spans])
        for name in _Regime._fields[1:]
    )
    cycle = _CYCLE * np.cos(2 * np.pi * (t % DAY_MS) / DAY_MS)
    spread = _VOLATILITY * np.sqrt(interval_ms / _REFERENCE_MS)
    sigma = spread * scale * np.exp(cycle + _wander(random, bars, interval_ms, 0.35))
    shocks = draw_shocks(random, bars)
    if shared is not None:
        share, market = shared
        shocks = np.sqrt(share) * market + np.sqrt(1 - share) * shocks
    returns, trend = _returns(sigma * shocks, [(span, regime.edge) for span, regime in spans])
    opened, high, low, close = _prices(random, returns, sigma, wick)
    pull = np.abs(shocks) * 0.35 + tilt * np.tanh(shocks)
    level = cycle + _wander(random, bars, interval_ms, 0.3) + pull
    hours = interval_ms / HOUR_MS
    volume = _BASE_VOLUME * 12 * hours * volumes * np.exp(level)
    volume = np.maximum(np.rint(volume * 1e5), 1) / 1e5
    n = 4 + (volume * _TRADES_PER_UNIT).astype(np.int64)
    funding_t, funding_rate = _funding(random, t, interval_ms, trend / sigma)
    return Recording(
        coin, interval, t, opened, high, low, close, volume, n, funding_t, funding_rate
    )


def draw_shocks(random: np.random.Generator, bars: int) -> Floats:
    """Draw the shocks of a market, shape (bars,): Student-t of variance 1, without the wildest."""
    shocks = random.standard_t(_TAIL_DEGREES, bars) * np.sqrt(1 - 2 / _TAIL_DEGREES)
    clipped: Floats = np.clip(shocks, -_TAIL_CUT, _TAIL_CUT)
    return clipped


def load(
    path: Path, coin: str | None = None, interval: str | None = None, funding: Path | None = None
) -> Recording:
    """Read candles and funding rates from files; trade counts are made up from the volume.

    Args:
        path: The file of the candles.
        coin: The coin. None takes it from a name like `BTC-5m.parquet`, or else takes the
            first word of the name.
        interval: The interval. None takes it from such a name, or else takes the spacing of
            the bars.
        funding: The file of the funding rates. None takes `BTC-funding.*` in the same folder;
            without such a file all rates are the venue's baseline.

    Raises:
        BadInput: If a file cannot be read, the coin is not known, or the spacing of the bars
            differs from the interval.
    """
    try:
        named: SlotName | None = SlotName.parse(path.name.partition(".")[0])
    except BadInput:
        named = None
    first_word = re.match(r"[A-Za-z0-9]*", path.name)
    coin = coin or (named.coin if named else first_word and first_word[0])
    if not coin:
        msg = f"{path} does not say its coin; name it like BTC-5m{path.suffix}"
        raise BadInput(msg)
    table = read_bars(path)
    spacing = _interval_of(table.interval_ms, str(path))
    interval = interval or (named.interval if named else spacing)
    if interval != spacing:
        msg = f"{path} holds bars of {spacing}, not {interval}; rename it or pass the interval"
        raise BadInput(msg)
    bars = table.bars
    sibling = next(iter(sorted(path.parent.glob(f"{glob.escape(coin)}-funding.*"))), None)
    funding = funding or sibling
    if funding is None:
        times = np.arange(int(bars.t[0]) // HOUR_MS, int(bars.t[-1]) // HOUR_MS + 2) * HOUR_MS
        rates = np.full(times.size, BASELINE_FUNDING)
    else:
        settled = read_funding(funding)
        times, rates = settled.time, settled.rate
    columns = (bars.t, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Recording(coin, interval, *columns, _trades(bars.volume), times, rates)


def _interval_of(interval_ms: int, whose: str) -> str:
    for name, length in INTERVAL_MS.items():
        if length == interval_ms:
            return name
    msg = f"{whose} has bars of {interval_ms} ms, which is none of {', '.join(INTERVAL_MS)}"
    raise BadInput(msg)


def _wander(random: np.random.Generator, bars: int, interval_ms: int, spread: float) -> Floats:
    """Return a stationary AR(1) series with a half-life of four hours."""
    keep = 0.5 ** (interval_ms / (4 * HOUR_MS))
    noise = random.normal(0, spread * np.sqrt(1 - keep**2), bars)
    start = np.array([keep * random.normal(0, spread)])
    series: Floats = lfilter([1.0], [1.0, -keep], noise, zi=start)[0]
    return series


def _returns(shocks: Floats, spans: list[tuple[slice, float]]) -> tuple[Floats, Floats]:
    """Return the returns, and the trend after each bar.

    With m(t) = (1 - a) m(t-1) + a r(t) and r(t) = edge m(t-1) + shock(t), the trend is
    the linear filter m(t) = (1 - a + a edge) m(t-1) + a shock(t).
    """
    returns, trend, last = np.empty_like(shocks), np.empty_like(shocks), 0.0
    for span, edge in spans:
        if not shocks[span].size:
            continue
        keep = 1 - _TREND_ALPHA + _TREND_ALPHA * edge
        start = np.array([keep * last])
        trend[span] = lfilter([_TREND_ALPHA], [1.0, -keep], shocks[span], zi=start)[0]
        before = np.concatenate(([last], trend[span][:-1]))
        returns[span] = edge * before + shocks[span]
        last = float(trend[span][-1])
    return returns, trend


def _prices(
    random: np.random.Generator, returns: Floats, sigma: Floats, wick: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return open, high, low and close; each bar opens near the close before it."""
    bars = returns.size
    close = _FIRST_PRICE * np.exp(np.cumsum(returns))
    before = np.concatenate(([_FIRST_PRICE], close[:-1]))
    opened = before * (1 + 0.05 * sigma * random.standard_normal(bars))
    up, down = np.abs(random.standard_normal((2, bars))) * wick * sigma
    high = np.maximum(opened, close) * (1 + up)
    low = np.minimum(opened, close) * (1 - down)
    return _tidy(opened), _tidy(high), _tidy(low), _tidy(close)


def _tidy(prices: Floats) -> Floats:
    """Round prices to five significant figures, or to an integer, as the venue does."""
    steps = 10.0 ** np.clip(4 - np.floor(np.log10(prices)), 0, None)
    tidy: Floats = np.rint(prices * steps) / steps
    return tidy


def _funding(
    random: np.random.Generator, t: Ints, interval_ms: int, trend: Floats
) -> tuple[Ints, Floats]:
    """Return times and rates of hourly settlements; a rate follows the last closed bar's trend."""
    hours = np.arange(int(t[0]) // HOUR_MS - 1, int(t[-1]) // HOUR_MS + 2) * HOUR_MS
    closed = np.searchsorted(t + interval_ms, hours, "right") - 1
    pressure = np.where(closed >= 0, trend[closed], 0.0)
    noise = _FUNDING_NOISE * random.standard_normal(hours.size)
    rates = BASELINE_FUNDING + _FUNDING_PER_TREND * pressure + noise
    rates = np.rint(np.clip(rates, -_FUNDING_CAP, _FUNDING_CAP) * 1e10) / 1e10
    return hours + random.integers(*_FUNDING_STAMP_MS, hours.size, endpoint=True), rates


def _trades(volume: Floats) -> Ints:
    """Make up trade counts, because files have none: about eighty in an ordinary bar."""
    usual = float(np.median(volume[volume > 0])) if (volume > 0).any() else 1.0
    counts = 4 + (80 * volume / usual).astype(np.int64)
    return np.where(volume > 0, counts, 0)

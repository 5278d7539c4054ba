# Written by `make reference` from retrain/features.py. Change that module, not this copy.
"""The 17 features: one implementation for training and for serving.

A model that is trained on one formula and given another loses money without any error. So the
daemon calls the function that training calls, on the last `LIVE_BARS` bars, and takes the last
row. Every window is finite and computed from its own bars alone (`retrain.windows`), so that row
equals the row of the whole history exactly.
"""

import hashlib
import math
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hyperdrift.formulas import bar_limits, windows
from hyperdrift.formulas.errors import BadFrame

Array = NDArray[np.float64]

NAMES: Final = (
    "mom_1",
    "mom_3",
    "mr_ema20_z",
    "rv_1h",
    "regime_high_vol",
    "gk_volatility",
    "jump_magnitude",
    "volume_intensity",
    "price_efficiency",
    "price_volume_corr",
    "vwap_momentum",
    "depth_proxy",
    "funding_rate",
    "funding_momentum_1h",
    "flow_diff",
    "S_top",
    "S_bot",
)
VERSION: Final = 1
"""Increased when a formula changes, so that no model gets features it was not trained on."""

WARMUP_BARS: Final = 299
"""Rows before this one are NaN: 288 values of rv_1h, each over 12 returns, need 300 closes."""

LIVE_BARS: Final = 512
"""How many bars give a last row equal to that of any longer history."""

_COLUMNS: Final = ("t", "open", "high", "low", "close", "volume", "funding", "s_top", "s_bot")
_PRICES: Final = ("open", "high", "low", "close")
_FLOW: Final = ("volume", "s_top", "s_bot")
_FAST, _SLOW, _PAIRS, _REGIME = 12, 50, 36, 288
_ALLOWED_PRICE: Final = f"from {bar_limits.SMALLEST_PRICE:g} to {bar_limits.LARGEST_PRICE:g}"
_EMA_KEEP = 1 - 2 / 21
# (1 - 2/21)^384 = 2e-17 is below the rounding of a float, and 384 + 50 bars fit into LIVE_BARS.
_EMA_BARS = 384
# Prices have five significant digits: less than 1e-8 of the price is rounding, not movement.
_STILL_PRICE, _STILL_VOLUME, _STILL_RETURN = 1e-8, 1e-12, 1e-12


class Frame(Protocol):
    """Columns by name: a dict of arrays, a pandas DataFrame, or an opened npz file."""

    def __getitem__(self, column: str, /) -> Any:
        """Return a column of shape (n_bars,)."""
        ...


def schema_hash() -> str:
    """Return the 12 hex digits that name these columns and formulas."""
    text = "\n".join((*NAMES, str(VERSION)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def compute(frame: Frame) -> Array:
    """Compute every feature of every bar.

    Args:
        frame: Columns of shape (n_bars,), oldest bar first: `t` (open time, ms UTC), `open`,
            `high`, `low`, `close` (quote currency), `volume`, `s_top`, `s_bot` (base units;
            the latter two the signed taker volume of a cohort in that bar, NaN where it is
            not known) and `funding` (hourly rate known at the bar's close, NaN if none is).

    Returns:
        Shape (n_bars, 17), in the order of `NAMES`. A row is either finite or all NaN: the
        first `WARMUP_BARS` rows are NaN and as many after a hole in `t`, those within 12 bars of
        an unknown funding rate, and those after 12 bars of unknown flow. Flow is taken over the
        bars in which it is known.

    Raises:
        BadFrame: If a column is missing or of another length, `t` does not ascend strictly, or
            a number is beyond `retrain.bar_limits`, or high is below low.
    """
    bars = _checked(frame)
    # 0 / 0 is intended: it gives the NaN of a warm-up row, or the formula replaces it.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        columns = _columns(bars)
    rows = np.stack([columns[name] for name in NAMES])
    rows[:, _warming(bars["t"])] = np.nan
    rows[:, ~np.isfinite(rows).all(axis=0)] = np.nan
    return np.ascontiguousarray(rows.T)


def cohort_flow(frame: Frame) -> tuple[Array, Array]:
    """Return S_top and S_bot of each bar, shape (n_bars,) each, NaN where they are not known.

    Args:
        frame: Columns `volume`, `s_top` and `s_bot` as `compute` takes them.
    """
    flow = _known_flow({name: np.asarray(frame[name], dtype=np.float64) for name in _FLOW})
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _shares(*windows.mean(np.stack(flow), _FAST))


def funding_as_of(
    close_ms: NDArray[np.int64], times: NDArray[np.int64], rates: NDArray[np.float64]
) -> Array:
    """Return for each bar the newest funding rate settled at or before its close.

    The venue stamps a settlement some ms after the hour. The raw stamp counts: a bar that
    closes on the hour gets the rate of the hour before, which is all a live bot can know.

    Args:
        close_ms: When each bar closed, shape (n_bars,), ms UTC.
        times: When each rate was settled, shape (n_rates,), ms UTC as stamped, ascending.
        rates: Rate per hour, shape (n_rates,).

    Returns:
        Shape (n_bars,), NaN before the first settlement.

    Raises:
        BadFrame: If `times` and `rates` differ in length or `times` is unsorted.
    """
    if len(times) != len(rates):
        raise BadFrame(f"{len(times)} funding times for {len(rates)} rates; give one rate per time")
    if np.any(np.diff(times) < 0):
        raise BadFrame("the funding times are not in order; sort them by time")
    known = np.concatenate(([np.nan], np.asarray(rates, dtype=np.float64)))
    return known[np.searchsorted(times, close_ms, side="right")]


def possible(bars: Frame) -> NDArray[np.bool_]:
    """Return which bars `compute` accepts, shape (n_bars,): those within `retrain.bar_limits`.

    Args:
        bars: Columns `open`, `high`, `low`, `close` and `volume`, each of shape (n_bars,).
    """
    prices = {name: np.asarray(bars[name], dtype=np.float64) for name in (*_PRICES, "volume")}
    right: NDArray[np.bool_] = np.all([holds for _, holds, _ in _bar_rules(prices)], axis=0)
    return right


def _warming(t: Array) -> NDArray[np.bool_]:
    """Return which rows lie within `WARMUP_BARS` after the first bar or a hole in `t`."""
    index, gaps = np.arange(len(t)), np.diff(t)
    if not len(gaps):
        return np.ones(len(t), dtype=bool)
    begins = np.concatenate(([True], gaps > gaps.min()))
    return index - np.maximum.accumulate(np.where(begins, index, 0)) < WARMUP_BARS


def _checked(frame: Frame) -> dict[str, Array]:
    """Return the columns as float arrays, or raise `BadFrame`."""
    bars: dict[str, Array] = {}
    for name in _COLUMNS:
        try:
            bars[name] = np.asarray(frame[name], dtype=np.float64)
        except KeyError:
            raise BadFrame(f"column {name} is missing; it needs {', '.join(_COLUMNS)}") from None
        except (TypeError, ValueError) as e:
            raise BadFrame(f"column {name} is not made of numbers ({e}); convert it") from e
        if bars[name].shape != bars["t"].shape or bars[name].ndim != 1:
            shapes = f"{bars[name].shape}, t has {bars['t'].shape}"
            raise BadFrame(f"column {name} has shape {shapes}; give one number per bar")
    for column, right, rule in _rules(bars):
        if not right.all():
            row = int(np.argmin(right))
            raise BadFrame(f"{column} is {bars[column][row]} in row {row}; it must {rule}")
    return bars


def _rules(bars: dict[str, Array]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """Return for each rule its column, where it holds, and its sentence; NaN breaks all but one."""
    t = bars["t"]
    ascends = np.concatenate(([True], np.diff(t) > 0))[: len(t)]
    rules = [
        ("t", ascends, "be later than the one before; sort the bars and drop repeats"),
        *_bar_rules(bars),
    ]
    for name in ("s_top", "s_bot"):
        right = ~(np.abs(bars[name]) > bar_limits.LARGEST_VOLUME)
        rules.append((name, right, "be a number, NaN if unknown, 0 without a cohort"))
    rate = ~(np.abs(bars["funding"]) > bar_limits.LARGEST_RATE)
    rules.append(("funding", rate, "be an hourly rate, or NaN if none is known"))
    return rules


def _bar_rules(bars: dict[str, Array]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """Return the rules of a single bar, as `_rules` does."""
    rules = []
    for name in _PRICES:
        right = (bars[name] >= bar_limits.SMALLEST_PRICE) & (bars[name] <= bar_limits.LARGEST_PRICE)
        rules.append((name, right, f"be a price {_ALLOWED_PRICE}; drop or repair the bar"))
    crossed = bars["high"] < bars["low"]
    rules.append(("high", ~crossed, "not be below low; drop or repair the bar"))
    volume = (bars["volume"] >= 0) & (bars["volume"] <= bar_limits.LARGEST_VOLUME)
    rules.append(
        ("volume", volume, f"be from 0 to {bar_limits.LARGEST_VOLUME:g}; drop or repair the bar")
    )
    return rules


def _columns(bars: dict[str, Array]) -> dict[str, Array]:
    """Return every feature by name, each of shape (n_bars,)."""
    high, low, close, volume = bars["high"], bars["low"], bars["close"], bars["volume"]
    r = _change(close, 1)
    typical = (high + low + close) / 3
    depth = volume * close / np.maximum((high - low) / close, 1e-6)
    # Columns with the same window are computed together.
    paid = (volume, typical * volume)
    fast = windows.mean(np.stack((r * r, bars["funding"], *paid, *_known_flow(bars))), _FAST)
    squares, usual_rate, traded, turnover, *flow = fast
    usual_volume, usual_depth = windows.mean(np.stack((volume, depth)), _SLOW)
    rv = np.sqrt(_FAST * squares)
    s_top, s_bot = _shares(*flow)
    return {
        "mom_1": r,
        "mom_3": _change(close, 3),
        "mr_ema20_z": _mean_reversion(close),
        "rv_1h": rv,
        "regime_high_vol": _regime(rv),
        "gk_volatility": _garman_klass(bars),
        "jump_magnitude": np.abs(r),
        "volume_intensity": np.where(usual_volume == 0, 0, volume / usual_volume - 1),
        "price_efficiency": _efficiency(bars, r),
        "price_volume_corr": _correlation(r, volume),
        "vwap_momentum": np.where(turnover == 0, 0, close / (turnover / traded) - 1),
        "depth_proxy": np.where(volume == 0, 0, np.log(depth / usual_depth)),
        "funding_rate": bars["funding"],
        "funding_momentum_1h": bars["funding"] - usual_rate,
        "flow_diff": s_top - s_bot,
        "S_top": s_top,
        "S_bot": s_bot,
    }


def _known_flow(bars: dict[str, Array]) -> tuple[Array, ...]:
    """Return volume, flow of both cohorts and 1 where the flow is known, all four 0 elsewhere."""
    known = np.isfinite(bars["s_top"]) & np.isfinite(bars["s_bot"])
    flows = (np.where(known, bars[name], 0) for name in _FLOW)
    return (*flows, known.astype(np.float64))


def _shares(traded: Array, top: Array, bottom: Array, known: Array) -> tuple[Array, Array]:
    """Return each cohort's share of the volume; NaN if no bar of the window has a known flow."""
    nothing = np.where(known == 0, np.nan, 0)
    # A bar that is not confirmed yet may lack volume that the flow has.
    return (
        np.where(traded == 0, nothing, np.clip(top / traded, -1, 1)),
        np.where(traded == 0, nothing, np.clip(bottom / traded, -1, 1)),
    )


def _mean_reversion(close: Array) -> Array:
    """Distance from the average, in its own standard deviations."""
    # d = close - EMA obeys d(t) = keep (d(t-1) + close(t) - close(t-1)): a fading sum of the
    # steps. Unlike the difference of two large numbers it is exact where the price stands still.
    d = _EMA_KEEP * windows.faded_sum(np.diff(close, prepend=close[:1]), _EMA_KEEP, _EMA_BARS)
    spread = windows.std(d, _SLOW)
    return np.where(spread <= _STILL_PRICE * close, 0, d / spread)


def _regime(rv: Array) -> Array:
    """1 where volatility is above twice its median, else 0."""
    usual = np.full(len(rv), np.nan)
    usual[_FAST:] = windows.median(rv[_FAST:], _REGIME)
    return ((rv > 2 * usual) & (rv > 0)).astype(np.float64)


def _garman_klass(bars: dict[str, Array]) -> Array:
    """Volatility of one bar from its four prices, Garman and Klass (1980)."""
    span, body = np.log(bars["high"] / bars["low"]), np.log(bars["close"] / bars["open"])
    variance = 0.5 * span * span - (2 * math.log(2) - 1) * body * body
    return np.sqrt(np.maximum(variance, 0))


def _efficiency(bars: dict[str, Array], r: Array) -> Array:
    """The part of the bar's range that the return covers."""
    span = bars["high"] - bars["low"]
    return np.where(span == 0, 0, np.minimum(np.abs(r) / (span / bars["close"]), 10))


def _correlation(r: Array, volume: Array) -> Array:
    """Pearson correlation of return and volume, 0 where one of them does not move."""
    (rr, rv), (_, vv) = windows.codeviation(np.stack((r, volume)), _PAIRS)
    still_r = rr <= _PAIRS * _STILL_RETURN**2
    still_v = vv <= _PAIRS * (_STILL_VOLUME * windows.mean(volume, _PAIRS)) ** 2
    return np.where(still_r | still_v, 0, np.clip(rv / np.sqrt(rr) / np.sqrt(vv), -1, 1))


def _change(close: Array, bars: int) -> Array:
    """Return close(t) / close(t - bars) - 1, NaN for the first `bars` rows."""
    change = np.full(len(close), np.nan)
    change[bars:] = close[bars:] / close[:-bars] - 1
    return change

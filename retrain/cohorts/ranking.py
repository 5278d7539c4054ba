"""Rank takers by what their flow was followed by, out of sample, corrected for how many were tried.

Of thousands of addresses the luckiest look skilled. So each block of bars is judged in the
direction that the address's blocks before it showed. Each trade is followed for the horizon, and
an observation is what the trades of one address together gained in one block. Without skill the
gain of a block is 0 on average whatever happened before, so horizons that overlap need no
correction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST_BLOCKS: Final = 20
"""An address with fewer judged blocks is not tried."""
LEARNT_FROM: Final = 5
"""Blocks of an address before the first one that is judged."""
FALSE_SHARE: Final = 0.005
"""Expected share of false addresses among those found (Benjamini and Hochberg).

It is far below the 10 % that are promised, because that promise is for each list.
"""
CHANCE_OF_ANY: Final = 0.002
"""Chance that anybody is found where nobody has skill (Simes).

Cohorts are learnt again and again, so this has to be rare.
"""
_SCALE_BARS: Final = 288
_ROWS_AT_ONCE: Final = 1 << 20


class TakerFlows(NamedTuple):
    """Net taker volume by address and bar, each of shape (n,), in any order.

    Attributes:
        address: Number of the address, from 0.
        bar: Index of the bar.
        signed: Base units, negative if sold; rows of the same address and bar are added up.
    """

    address: NDArray[np.integer]
    bar: NDArray[np.integer]
    signed: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The evidence for each address, each of shape (n_addresses,).

    Attributes:
        bars: Bars in which the address took, with the whole horizon after them known.
        blocks: Judged blocks, each of them one observation.
        mean_bp: Mean move of the horizon after its bars in the direction that the blocks
            before showed, in basis points above the market's mean; NaN if none was judged.
        t: Sum of the observations over the root of the sum of their squares.
        p: Chance of such a `t` without skill; 1 if it was not tried.
        q: Expected share of false addresses in the shortest list with this one; 1 if not tried.
        side: 1 if moves followed its direction, -1 if they went against it, 0 without any.
        tried: Whether there were enough blocks.
        found: 1 top, -1 bottom, 0 not surely better or worse than chance.
    """

    bars: Ints
    blocks: Ints
    mean_bp: Floats
    t: Floats
    p: Floats
    q: Floats
    side: Ints
    tried: NDArray[np.bool_]
    found: Ints


class _Market(NamedTuple):
    """Sums of returns up to each bar, shape (n_bars,): in units of volatility, and plain."""

    scaled: Floats
    plain: Floats
    horizon: int


def rank(flows: TakerFlows, close: Floats, horizon: int, n_addresses: int) -> Ranking:
    """Judge every address.

    Only the given bars are used, and trades whose whole horizon lies in them: what came after
    the last of them changes nothing.

    Args:
        flows: What each address took in each bar.
        close: Prices at the close of successive bars, shape (n_bars,), NaN for a missing bar.
        horizon: Bars after a trade that count.
        n_addresses: How many addresses there are.
    """
    market = _market(close, horizon)
    shape = (6, n_addresses)
    sums = np.zeros(shape)  # bars, blocks, gain, squares, moves, judged bars
    side = np.zeros(n_addresses, np.int64)
    for first, last, rows in _by_address(flows, n_addresses):
        sums[:, first:last], side[first:last] = _observe(rows, market, last - first)
    bars, blocks, gain, squares, moves, judged = sums
    t = gain / np.sqrt(np.maximum(squares, np.finfo(float).tiny))
    tried = blocks >= FEWEST_BLOCKS
    p = np.where(tried, ndtr(-t), 1.0)
    q = np.where(tried, false_share(p, int(tried.sum())), 1.0)
    anybody = q.min(initial=1.0) <= CHANCE_OF_ANY
    found = np.where((q <= FALSE_SHARE) & anybody, side, 0)
    mean_bp = np.full(n_addresses, np.nan)
    np.divide(1e4 * moves, judged, out=mean_bp, where=judged > 0)
    return Ranking(
        bars=bars.astype(np.int64),
        blocks=blocks.astype(np.int64),
        mean_bp=mean_bp,
        t=t,
        p=p,
        q=q,
        side=side,
        tried=tried,
        found=found,
    )


def false_share(p: Floats, tried: int) -> Floats:
    """Return q of each p, shape (n,): p times `tried` over its rank, at most 1 (Benjamini 1995)."""
    order = np.argsort(p, kind="stable")
    ratio = p[order] * tried / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(ratio[::-1])[::-1])
    return q


def _market(close: Floats, horizon: int) -> _Market:
    """Subtract the market's mean, which all share, and divide by the volatility of the day before.

    A return across a missing bar counts as none.
    """
    n = len(close)
    moves = np.zeros(n)
    moves[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    known = np.r_[False, np.isfinite(close[1:]) & np.isfinite(close[:-1])][:n]
    moves[known] -= moves[known].mean() if known.any() else 0.0
    at = np.arange(n)
    begin = np.maximum(0, at - _SCALE_BARS)
    squares = np.r_[0.0, np.cumsum(moves**2)]
    scale = np.sqrt((squares[at] - squares[begin]) / np.maximum(at - begin, 1))
    # The first returns have no volatility before them.
    scaled = np.where((at > horizon) & (scale > 0), moves / np.where(scale > 0, scale, 1.0), 0.0)
    return _Market(np.cumsum(scaled), np.cumsum(moves), horizon)


def _by_address(flows: TakerFlows, n_addresses: int) -> Iterator[tuple[int, int, TakerFlows]]:
    """Yield a range of addresses and its rows, numbered from 0; a range has about a million."""
    order = np.argsort(flows.address, kind="stable")
    ends = np.cumsum(np.bincount(flows.address, minlength=n_addresses))
    first = done = 0
    while first < n_addresses:
        last = int(np.searchsorted(ends, done + _ROWS_AT_ONCE, side="right"))
        last = min(max(last, first + 1), n_addresses)
        rows = order[done : ends[last - 1]]
        yield (
            first,
            last,
            TakerFlows(flows.address[rows] - first, flows.bar[rows], flows.signed[rows]),
        )
        first, done = last, int(ends[last - 1])


def _observe(flows: TakerFlows, market: _Market, n_addresses: int) -> tuple[Floats, Ints]:
    """Return the sums of `rank`, shape (6, n_addresses), and the side of each address."""
    address, bar, net = _net(flows, market)
    n_blocks = len(market.plain) // market.horizon + 2
    # The horizon of a trade ends in the block of its first return, or in the next one.
    block = (bar + 1) // market.horizon
    end = np.minimum((block + 1) * market.horizon - 1, bar + market.horizon)
    # The fourth root: sizes count, but a few huge trades do not outweigh all others.
    size = np.sign(net) * np.abs(net) ** 0.25
    now = size * (market.scaled[end] - market.scaled[bar])
    then = size * (market.scaled[bar + market.horizon] - market.scaled[end])
    key = address * n_blocks + block
    cells, place = np.unique(np.r_[key, key + 1], return_inverse=True)
    gain = np.bincount(place, np.r_[now, then], len(cells)).astype(np.float64, copy=False)
    who = cells // n_blocks
    weight = _directions_before(gain, who, n_addresses)
    judged = weight * gain
    direction = weight[place[: len(key)]]
    moved = direction * np.sign(net) * (market.plain[bar + market.horizon] - market.plain[bar])
    sums = (
        np.bincount(address, minlength=n_addresses),
        np.bincount(who, judged != 0, n_addresses),
        np.bincount(who, judged, n_addresses),
        np.bincount(who, judged**2, n_addresses),
        np.bincount(address, moved, n_addresses),
        np.bincount(address, direction != 0, n_addresses),
    )
    side = np.sign(np.bincount(who, gain, n_addresses)).astype(np.int64)
    return np.array(sums, dtype=np.float64), side


def _net(flows: TakerFlows, market: _Market) -> tuple[Ints, Ints, Floats]:
    """Return address, bar and net volume of each pair whose whole horizon is known."""
    n_bars = len(market.plain)
    whole = flows.bar < n_bars - market.horizon
    key = flows.address[whole].astype(np.int64) * n_bars + flows.bar[whole]
    pairs, place = np.unique(key, return_inverse=True)
    net = np.bincount(place, flows.signed[whole], len(pairs))
    address, bar = np.divmod(pairs[net != 0], n_bars)
    return address, bar, net[net != 0]


def _directions_before(gain: Floats, who: Ints, n_addresses: int) -> Floats:
    """Return 1 or -1 as the address's gain before each cell was, 0 after too few cells."""
    start = np.searchsorted(who, np.arange(n_addresses))
    before = np.r_[0.0, np.cumsum(gain)]
    # The sums begin at the address's first cell; their rounding errors decide nothing but ties.
    past = before[:-1] - before[start[who]]
    count = np.arange(len(who)) - start[who]
    return np.where(count >= LEARNT_FROM, np.sign(past), 0.0)

"""The features once more, bar by bar in plain Python, the way one would write them down.

Shares no line with the product: what both say is what the definitions say. Also the slow
side of `benchmarks/features.py`.
"""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Any

Values = list[float]


def rows(frame: Any) -> list[Values]:
    """Return the 17 features of every bar; rows before 299 are NaN."""
    o, h, l, c, v, funding, s_top, s_bot = (  # noqa: E741 - the usual letters of a candle
        [float(x) for x in frame[name]]
        for name in ("open", "high", "low", "close", "volume", "funding", "s_top", "s_bot")
    )
    r: Values = []
    d: Values = []
    rv: Values = []
    depth: Values = []
    out: list[Values] = []
    ema = c[0]
    for i in range(len(c)):
        r.append(c[i] / c[i - 1] - 1 if i else math.nan)
        ema += (c[i] - ema) * 2 / 21
        d.append(c[i] - ema)
        rv.append(math.sqrt(math.fsum(x * x for x in r[i - 11 : i + 1])) if i >= 12 else math.nan)
        depth.append(v[i] * c[i] / max((h[i] - l[i]) / c[i], 1e-6))
        if i < 299:
            out.append([math.nan] * 17)
            continue
        hour = slice(i - 11, i + 1)
        top, bottom = share(s_top[hour], v[hour]), share(s_bot[hour], v[hour])
        span, body = math.log(h[i] / l[i]), math.log(c[i] / o[i])
        row = [
            r[i],
            c[i] / c[i - 3] - 1,
            z_score(d[i - 49 : i + 1], c[i]),
            rv[i],
            float(rv[i] > 2 * median(rv[i - 287 : i + 1]) and rv[i] > 0),
            math.sqrt(max(0.0, 0.5 * span**2 - (2 * math.log(2) - 1) * body**2)),
            abs(r[i]),
            v[i] / fmean(v[i - 49 : i + 1]) - 1 if any(v[i - 49 : i + 1]) else 0.0,
            min(10.0, abs(r[i]) / ((h[i] - l[i]) / c[i])) if h[i] > l[i] else 0.0,
            correlation(r[i - 35 : i + 1], v[i - 35 : i + 1]),
            vwap_momentum(h[hour], l[hour], c[hour], v[hour]),
            math.log(depth[i] / fmean(depth[i - 49 : i + 1])) if v[i] > 0 else 0.0,
            funding[i],
            funding[i] - fmean(funding[hour]),
            top - bottom,
            top,
            bottom,
        ]
        out.append(row if all(map(math.isfinite, row)) else [math.nan] * 17)
    return out


def z_score(d: Sequence[float], close: float) -> float:
    spread = stdev(d)
    return d[-1] / spread if spread > 1e-8 * close else 0.0


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    if max(x) == min(x) or max(y) == min(y):
        return 0.0
    mean_x, mean_y = fmean(x), fmean(y)
    xy = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    xx = math.fsum((a - mean_x) ** 2 for a in x)
    yy = math.fsum((b - mean_y) ** 2 for b in y)
    return xy / math.sqrt(xx * yy)


def vwap_momentum(h: Values, l: Values, c: Values, v: Values) -> float:  # noqa: E741 - candle letters
    if not any(v):
        return 0.0
    turnover = math.fsum((a + b + e) / 3 * w for a, b, e, w in zip(h, l, c, v, strict=True))
    return c[-1] / (turnover / math.fsum(v)) - 1


def share(signed: Sequence[float], volume: Sequence[float]) -> float:
    return math.fsum(signed) / math.fsum(volume) if any(volume) else 0.0

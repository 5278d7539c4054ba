"""Small recordings for the tests of the replay exchange."""

import numpy as np

from daemon.demo.market import Recording, generate

MINUTES_5 = 300_000
START_MS = 1_750_032_000_000  # midnight UTC, on the grid of every interval in use


def market(bars: int = 200, *, seed: int = 7, quiet: tuple[int, ...] = ()) -> Recording:
    """A generated 5m market, with nothing traded in the bars numbered in `quiet`."""
    recording = generate(bars, MINUTES_5, seed, start_ms=START_MS)
    columns = {
        name: getattr(recording, name).copy()
        for name in ("open", "high", "low", "close", "volume", "n")
    }
    for bar in quiet:
        for name in ("open", "high", "low", "close"):
            columns[name][bar] = columns["close"][bar - 1]
        columns["volume"][bar] = columns["n"][bar] = 0
    return Recording(
        recording.coin,
        recording.interval,
        recording.t,
        **columns,
        funding_t=recording.funding_t,
        funding_rate=recording.funding_rate,
    )


def as_recorded(recording: Recording, bar: int) -> dict[str, object]:
    """The REST row of a finished bar."""
    r, t = recording, int(recording.t[bar])
    return {
        "t": t,
        "T": t + r.interval_ms - 1,
        "s": r.coin,
        "i": r.interval,
        "o": repr(float(r.open[bar])),
        "c": repr(float(r.close[bar])),
        "h": repr(float(r.high[bar])),
        "l": repr(float(r.low[bar])),
        "v": repr(float(r.volume[bar])),
        "n": int(r.n[bar]),
    }


def flat(bars: int, price: float = 100.0) -> Recording:
    """A market in which every trade was at one price."""
    prices, none = np.full(bars, price), np.zeros(0)
    t = START_MS + np.arange(bars) * MINUTES_5
    n = np.ones(bars, dtype=np.int64)
    times = none.astype(np.int64)
    return Recording("FLAT", "5m", t, prices, prices, prices, prices, np.ones(bars), n, times, none)

"""Archive files of a made-up coin, in which two takers know what comes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import lz4.frame
import numpy as np

BEGIN = 1_750_000_000_000 // 86_400_000 * 86_400_000
STEP = 300_000
HORIZON = 12
BETWEEN_MS = 50_000
TRADERS = tuple(f"0x{number:040x}" for number in range(1, 31))
TOP, BOTTOM, WASHER = TRADERS[:3]
MAKER = "0x" + "f" * 40


def lines(days: int, *, right: float, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield trades, one every 50 seconds; a third of them are of the first three traders."""
    rng = np.random.default_rng(seed)
    times = np.arange(BEGIN, BEGIN + days * 86_400_000, BETWEEN_MS)
    bar = (times - BEGIN) // STEP
    close = 100 * np.cumprod(1 + rng.normal(0, 1e-3, bar[-1] + 1 + HORIZON))
    moves = np.sign(close[HORIZON:] - close[:-HORIZON])
    who = np.where(rng.random(len(times)) < 1 / 3, rng.integers(0, 3, len(times)), -1)
    who = np.where(who < 0, rng.integers(3, len(TRADERS), len(times)), who)
    knows = np.where(rng.random(len(times)) < right, 1, -1) * moves[bar]
    tossed = rng.choice([-1, 1], len(times))
    for k, time in enumerate(times.tolist()):
        taker = TRADERS[who[k]]
        side = {TOP: knows[k], BOTTOM: -knows[k], WASHER: knows[k]}.get(taker, tossed[k])
        maker = taker if taker == WASHER else MAKER
        users = (taker, maker) if side > 0 else (maker, taker)
        yield {
            "coin": "TEST",
            "side": "B" if side > 0 else "A",
            "time": f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%dT%H:%M:%S}.000000000",
            "px": f"{close[bar[k]]:.6f}",
            "sz": f"{rng.lognormal():.4f}",
            "side_info": [{"user": user, "oid": 2 * k + n} for n, user in enumerate(users)],
        }


def write(folder: Path, days: int, *, right: float) -> list[Path]:
    """Write two files, the second with the later half of the days."""
    rows = [json.dumps(line) for line in lines(days, right=right)]
    paths = []
    for number, half in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        paths.append(folder / f"{number}.lz4")
        paths[-1].write_bytes(lz4.frame.compress("\n".join(half).encode()))
    return paths

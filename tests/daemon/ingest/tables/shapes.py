"""Candles as other programs write them, made in code."""

import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STEP = 300_000
START = 1_772_323_200_000  # 2026-03-01
NOW = START + 365 * 86_400_000
HEADER = "t,open,high,low,close,volume"

Row = tuple[Any, ...]


def candles(count: int = 24, step: int = STEP, start: int = START) -> list[Row]:
    """Return t, open, high, low, close and volume of a wandering price."""
    random_ = random.Random(5)
    rows: list[Row] = []
    price = 60_000.0
    for k in range(count):
        close = round(price * (1 + random_.gauss(0, 0.001)), 1)
        high, low = round(max(price, close) * 1.0003, 1), round(min(price, close) * 0.9997, 1)
        volume = round(random_.uniform(0.5, 50), 5)
        rows.append((start + k * step, price, high, low, close, volume))
        price = close
    return rows


ROWS = candles()


def csv(
    rows: Sequence[Row] = ROWS,
    header: str = HEADER,
    row: Callable[[Row], Sequence[Any]] = lambda r: r,
    sep: str = ",",
) -> str:
    """Return rows as delimited text; commas of the header become `sep`."""
    lines = [header.replace(",", sep)] if header else []
    return "\n".join([*lines, *(sep.join(map(str, row(r))) for r in rows)]) + "\n"


def utc(ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(form)


def dated(form: str, header: str = HEADER) -> str:
    """Return rows with dates in the place of the times, in quotes."""
    return csv(header=header, row=lambda r: [f'"{utc(r[0], form)}"', *r[1:]])


def venue(rows: Sequence[Row] = ROWS, coin: str = "BTC", interval: str = "5m") -> list[Any]:
    """Return rows as the venue has them."""
    return [
        {"t": t, "T": t + STEP - 1, "s": coin, "i": interval, "n": 9}
        | {k: str(v) for k, v in zip("ohlcv", values, strict=True)}
        for t, *values in rows
    ]


def klines(rows: Sequence[Row] = ROWS, per_ms: int = 1) -> str:
    """Return rows as Binance's files have them: twelve columns without a header."""
    return csv(
        rows,
        header="",
        row=lambda r: [r[0] * per_ms, *r[1:], (r[0] + STEP) * per_ms - 1, 100, 5, 1, 1, 0],
    )


def lines(rows: Sequence[Any]) -> str:
    """Return JSON lines."""
    return "\n".join(map(json.dumps, rows)) + "\n"


def pushed(rows: Sequence[Any]) -> list[Any]:
    """Return rows as messages of the venue's socket."""
    return [{"channel": "candle", "data": row} for row in rows]


def written(path: Path, content: str | bytes) -> Path:
    """Write a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

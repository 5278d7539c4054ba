"""Make up trades that add up exactly to the recorded candles.

A recording has no trades, but the order flow needs some. They must agree with the candles in
number, size, first, highest, lowest and last price. Each trade is pushed when its candle
shows it. The trades depend on the recording alone. So they are the same when they are sent
again, as after each subscription.
"""

import hashlib
from collections.abc import Iterator
from itertools import groupby, islice
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.demo.keyed_random import between, scrambled, unit
from daemon.demo.protocol import TradeRow, channel, decimal_text
from daemon.demo.tape import Tape

REPLAYED = 30
"""How many past trades a new subscription gets."""
_FRAME_TRADES = 100
# Units per one base unit: sums of recorded sizes are exact to this.
_UNITS = 1e8
_TID_BITS = 50
_NO_HASH_FRAC = 0.1
# Probability that the taker buys in a rise and sells in a fall.
_WITH_THE_MOVE = 0.7


def _address(number: int) -> str:
    return "0x" + hashlib.sha256(b"trader %d" % number).hexdigest()[:40]


TRADERS = tuple(_address(number) for number in range(64))
"""The addresses that trade, on every coin."""


class TradeGenerator:
    """The trades of one coin, which belong to the states of its tape."""

    def __init__(self, tape: Tape) -> None:
        self._tape, self._coin = tape, tape.recording.coin
        self._salt = crc32(self._coin.encode()) << 3
        r = tape.recording
        newest = [column[-500:] for column in (r.open, r.high, r.low, r.close)]
        texts = map(decimal_text, np.concatenate(newest).tolist())
        self._price_digits = max(len(text.partition(".")[2]) for text in texts)

    def position(self, now_ms: int) -> int:
        """Return how many states there are up to `now_ms`, ms UTC."""
        return self._tape.position(now_ms)

    def next_ms(self, position: int) -> int | None:
        """Return the time of the state numbered `position`, ms UTC; None after the last."""
        return self._tape.next_ms(position)

    def frames(self, before: int, after: int) -> list[bytes]:
        """Return the frames between two positions, oldest first, each of at most 100 trades."""
        trades = [trade for p in range(before, after) for trade in self._of(p)]
        return [
            _frame(trades[start : start + _FRAME_TRADES])
            for start in range(0, len(trades), _FRAME_TRADES)
        ]

    def greeting(self, now_ms: int) -> bytes | None:
        """Return a frame of the last 30 trades up to `now_ms`, ms UTC; None before the first."""
        last = list(islice(self._backwards(self.position(now_ms)), REPLAYED))
        return _frame(last[::-1]) if last else None

    def _backwards(self, position: int) -> Iterator[TradeRow]:
        for p in range(position - 1, -1, -1):
            yield from reversed(self._of(p))

    def _of(self, p: int) -> list[TradeRow]:
        """Return the trades between the state before `p` and the state `p`."""
        tape = self._tape
        bar, stage = int(tape.bars[p]), int(tape.stages[p])
        t, *_, volume, count = tape.partial(bar, stage)
        since_ms, seen, units, trades = t, -1, round(volume * _UNITS), count
        if p and tape.bars[p - 1] == bar:
            seen, since_ms = int(tape.stages[p - 1]), int(tape.times[p - 1])
            *_, volume, count = tape.partial(bar, seen)
            units, trades = units - round(volume * _UNITS), trades - count
        grain = round(_UNITS / 10**tape.digits)
        path = [price for price, _ in groupby(tape.path(bar)[max(0, seen) : stage + 1])]
        # Each price that the candle shows needs a trade, and each trade needs a size.
        k = max(1, min(max(trades, len(path) - (seen >= 0)), units // grain))
        if units <= 0:
            return []
        until_ms = min(int(tape.times[p]), t + tape.recording.interval_ms - 1)
        keys = np.int64(t) + np.arange(k, dtype=np.int64) * 7 + stage
        return self._written(
            keys,
            prices=self._prices(path, k, begun=seen >= 0),
            units=_split(units, grain, unit(keys, self._salt + 1)),
            times=np.sort(between(unit(keys, self._salt + 2), (since_ms, until_ms))),
        )

    def _prices(self, path: list[float], k: int, *, begun: bool) -> NDArray[np.float64]:
        """Return `k` prices along `path`; if `begun`, its first price was traded before."""
        if len(path) == 1 or k == 1:
            return np.full(k, path[-1])
        at = np.rint(np.linspace(-1 if begun else 0, k - 1, len(path)))
        walked = np.interp(np.arange(k), at, path)
        return np.clip(np.round(walked, self._price_digits), min(path), max(path))

    def _written(
        self,
        keys: NDArray[np.int64],
        *,
        prices: NDArray[np.float64],
        units: NDArray[np.int64],
        times: NDArray[np.int64],
    ) -> list[TradeRow]:
        falls = np.diff(prices, prepend=prices[0]) < 0
        bought = (unit(keys, self._salt + 3) < _WITH_THE_MOVE) != falls
        count = len(TRADERS)
        buyers = between(unit(keys, self._salt + 4), (0, count))
        sellers = (buyers + between(unit(keys, self._salt + 5), (1, count))) % count
        ids = scrambled(keys, self._salt + 6)
        return [
            TradeRow(
                coin=self._coin,
                side="B" if buys else "A",
                px=decimal_text(price),
                sz=decimal_text(round(size / _UNITS, 8)),
                time=time,
                hash=_hash(number),
                tid=number >> (64 - _TID_BITS),
                users=(TRADERS[buyer], TRADERS[seller]),
            )
            for buys, price, size, time, number, buyer, seller in zip(
                *(c.tolist() for c in (bought, prices, units, times, ids, buyers, sellers)),
                strict=True,
            )
        ]


def _split(total: int, grain: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide `total` by the weights into multiples of `grain`; the last gets the remainder.

    Args:
        total: The sum of the parts.
        grain: The smallest part.
        weights: One weight per part, shape (n,).
    """
    free = total // grain - len(weights)
    edges = np.floor(np.cumsum(weights) / max(weights.sum(), 1e-9) * max(free, 0))
    pieces: NDArray[np.int64] = (np.diff(edges, prepend=0.0).astype(np.int64) + 1) * grain
    pieces[-1] += total - pieces.sum()
    return pieces


def _hash(number: int) -> str:
    """Return the hash of a transaction; all zeros for a slice of a TWAP order."""
    if number / 2**64 < _NO_HASH_FRAC:
        return "0x" + "0" * 64
    return "0x" + hashlib.sha256(number.to_bytes(8)).hexdigest()


def _frame(trades: list[TradeRow]) -> bytes:
    return channel("trades", msgspec.json.encode(trades))

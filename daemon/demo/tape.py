"""Tell what the venue knows of one coin and interval at any time.

A recording has only closed bars. If a forming bar were sent as recorded, a client would see
its future high. So every bar is divided into a few states, each with a time, and only states
of the past are sent. A state has the sums of the bar so far. REST and stream use the same
states, so they always agree.
"""

import msgspec
import numpy as np

from daemon.demo.keyed_random import between, unit
from daemon.demo.protocol import Candle, channel, decimal_text
from daemon.demo.recording import Ints, Recording

CANDLE_CAP = 5000
# Share of the bar's volume and trades in each state: first trade, one extreme, the other, all.
_SHARES = (0.08, 0.36, 0.74, 1.0)
_FINAL = len(_SHARES) - 1
_FIRST_TRADE_MS = (700, 7_700)
_BEFORE_CLOSE_MS = (100, 5_000)
_AFTER_CLOSE_MS = (300, 2_560)
_LATE_FRAC, _WITHHELD_FRAC = 0.14, 0.02

_Row = tuple[int, float, float, float, float, float, int]


class Tape:
    """The states of one recording, each with its time; all its intervals share them."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.rows = _Rows(recording)
        self.times, self.bars, self.stages = _timeline(recording)
        self.withheld = unit(recording.t, 4) < _WITHHELD_FRAC
        self.digits = _decimals(recording)

    def position(self, now_ms: int) -> int:
        """Return how many states there are up to `now_ms`, ms UTC."""
        return int(np.searchsorted(self.times, now_ms, "right"))

    def next_ms(self, position: int) -> int | None:
        """Return the time of the state numbered `position`, ms UTC; None after the last."""
        return int(self.times[position]) if position < len(self.times) else None

    def partial(self, bar: int, stage: int) -> _Row:
        """Return one recorded bar as it is at a stage."""
        t, opened, _high, _low, _close, volume, trades = row = self.rows[bar]
        if stage == _FINAL:
            return row
        path = self.path(bar)[: stage + 1]
        least = 10.0**-self.digits
        so_far = min(volume, max(least, round(volume * _SHARES[stage], self.digits)))
        count = max(1, int(trades * _SHARES[stage]))
        return t, opened, max(path), min(path), path[-1], so_far, count

    def path(self, bar: int) -> tuple[float, float, float, float]:
        """Return the prices of one recorded bar at its stages: open, two extremes, close."""
        _, opened, high, low, close, _, _ = self.rows[bar]
        there, back = (low, high) if close >= opened else (high, low)
        return opened, there, back, close


class Series:
    """One coin at one interval, which is a multiple of the recorded one."""

    def __init__(self, tape: Tape, interval: str) -> None:
        base = tape.recording
        same = interval == base.interval
        own = base if same else base.resampled(interval)
        self._tape = tape
        self._coin, self._interval, self._length = own.coin, interval, own.interval_ms
        self._own, self._own_t = tape.rows if same else _Rows(own), own.t
        self._group: Ints = np.searchsorted(own.t, base.t, "right") - 1
        self._encoded: list[bytes | None] = [None] * len(self._own)

    def position(self, now_ms: int) -> int:
        """Return how many states there are up to `now_ms`, ms UTC."""
        return self._tape.position(now_ms)

    def next_ms(self, position: int) -> int | None:
        """Return the time of the state numbered `position`, ms UTC; None after the last."""
        return self._tape.next_ms(position)

    def frames(self, before: int, after: int, *, last_states: bool = True) -> list[bytes]:
        """Return the candle frames pushed between two positions, oldest first.

        There is one frame per bar, with its newest state. The last state of one bar in fifty
        is never pushed, only REST has it. Without `last_states` no last state is pushed.
        """
        states = range(before, after)
        newest = [p for p in states if p + 1 == after or self._bar(p) != self._bar(p + 1)]
        return [
            channel("candle", self._state(p))
            for p in newest
            if not self._is_withheld(p) and (last_states or not self._is_last(p))
        ]

    def greeting(self, now_ms: int) -> bytes | None:
        """Return a frame of the bar that contains `now_ms`, ms UTC; None before its first trade."""
        newest = self.position(now_ms) - 1
        if newest < 0 or self._own[self._bar(newest)][0] + self._length <= now_ms:
            return None
        return channel("candle", self._state(newest))

    def snapshot(self, start_ms: int, end_ms: int, now_ms: int) -> bytes:
        """Return the REST rows from the bar with `start_ms` to the bar with `end_ms`, ms UTC.

        These are at most the newest 5000 bars up to the last trade; there are none after it.
        """
        newest = self.position(now_ms) - 1
        if newest < 0:
            return b"[]"
        last = self._bar(newest)
        start = start_ms - start_ms % self._length
        low = max(int(np.searchsorted(self._own_t, start)), last - CANDLE_CAP + 1)
        high = int(np.searchsorted(self._own_t, end_ms, "right"))
        rows = [self._closed(bar) for bar in range(low, min(high, last))]
        if low <= last < high:
            rows.append(self._state(newest))
        return b"[" + b",".join(rows) + b"]"

    def _bar(self, position: int) -> int:
        return int(self._group[self._tape.bars[position]])

    def _is_withheld(self, position: int) -> bool:
        last = self._tape.stages[position] == _FINAL
        return bool(last and self._tape.withheld[self._tape.bars[position]])

    def _is_last(self, position: int) -> bool:
        """Say whether no later state belongs to the same bar."""
        following = position + 1
        return following == len(self._tape.bars) or self._bar(following) != self._bar(position)

    def _closed(self, bar: int) -> bytes:
        row = self._encoded[bar]
        if row is None:
            row = self._encoded[bar] = self._encode(self._own[bar])
        return row

    def _state(self, position: int) -> bytes:
        """Return the JSON of a bar as it was at the state numbered `position`."""
        last, bar = int(self._tape.bars[position]), self._bar(position)
        if self._tape.stages[position] == _FINAL and self._is_last(position):
            return self._closed(bar)
        parts = [self._tape.partial(last, int(self._tape.stages[position]))]
        while last > 0 and self._group[last - 1] == bar:
            last -= 1
            if self._tape.rows[last][5] > 0:
                parts.append(self._tape.rows[last])
        _, opens, highs, lows, closes, volumes, trades = zip(*reversed(parts), strict=True)
        volume = round(sum(volumes), self._tape.digits)
        t = self._own[bar][0]
        merged = (t, opens[0], max(highs), min(lows), closes[-1], volume, sum(trades))
        return self._encode(merged)

    def _encode(self, row: _Row) -> bytes:
        t, opened, high, low, close, volume, trades = row
        return msgspec.json.encode(
            Candle(
                open_ms=t,
                last_ms=t + self._length - 1,
                coin=self._coin,
                interval=self._interval,
                open=decimal_text(opened),
                close=decimal_text(close),
                high=decimal_text(high),
                low=decimal_text(low),
                volume=decimal_text(volume),
                trades=trades,
            )
        )


class _Rows:
    """The bars of a recording as rows; each is made when it is asked for, to save memory."""

    def __init__(self, recording: Recording) -> None:
        r = recording
        self._columns = (r.t, r.open, r.high, r.low, r.close, r.volume, r.n)

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, bar: int) -> _Row:
        t, opened, high, low, close, volume, n = (column[bar].item() for column in self._columns)
        return t, opened, high, low, close, volume, n


def _decimals(recording: Recording) -> int:
    """Return the largest number of decimals of the sizes in the newest bars."""
    texts = map(decimal_text, recording.volume[-500:].tolist())
    return min(8, max(len(text.partition(".")[2]) for text in texts))


def _timeline(recording: Recording) -> tuple[Ints, Ints, Ints]:
    """Return time, bar and stage of every state, in order; bars without trades have none.

    The last state of most bars comes just before the close. In one bar of seven it comes up
    to 2.6 s after it. It always comes before the first trade of the next bar.
    """
    t, close = recording.t, recording.t + recording.interval_ms
    where = unit(t, 2)
    late = between(where, _AFTER_CLOSE_MS)
    last = close + np.where(unit(t, 3) < _LATE_FRAC, late, -between(where, _BEFORE_CLOSE_MS))
    first = t + between(unit(t, 1), _FIRST_TRADE_MS)
    first[1:] = np.maximum(first[1:], last[:-1] + 100)
    steps = np.arange(len(_SHARES))
    times = first[:, None] + (last - first)[:, None] * steps // _FINAL
    counts = np.maximum(1, (recording.n[:, None] * np.array(_SHARES)).astype(np.int64))
    # A state must have at least one trade more than the state before.
    new = np.diff(counts, axis=1, prepend=0) > 0
    new[:, :_FINAL] &= counts[:, :_FINAL] < counts[:, _FINAL:]
    new[:, _FINAL] = True
    bars, stages = np.nonzero(new & (recording.volume > 0)[:, None])
    return times[bars, stages], bars, stages

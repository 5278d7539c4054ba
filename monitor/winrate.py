"""Track the live win rate, and detect a lasting fall.

The noise of some 250 trades hides a fall from 55 to 45 %. So the detector is tuned to that fall:
it is river's Page-Hinkley test, anchored at the reference rate, with half the fall as its
tolerance. A floor over the last trades and a limit of losing streaks are checked too.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from monitor.drift.page_hinkley import AnchoredPageHinkley
from monitor.errors import BadObservation
from monitor.policy import DAY_MS

# Half of a fall of ten points: the CUSUM for p against p - 0.1.
_TOLERANCE = 0.05
# With these at most 2 % of stable records of 1,000 trades raise an alarm (benchmarks/winrate.py).
_THRESHOLD = 18.0
# A rate learnt from the first trades is uncertain, so its threshold is higher.
_LEARNT_THRESHOLD = 20.5
# Part of the evidence that must stand behind a rate below the floor: the rate over 100
# trades of a good model dips below 45 % every few hundred trades.
_FLOOR_EVIDENCE = 0.92
# A known rate counts like this many trades in the mean that live trades then move.
_ANCHOR_TRADES = 20_000
_LEARN_TRADES = 100
# Losing streaks rarer than this, for each trade that could begin one, are reported.
_STREAK_CHANCE = 1e-4
_PNL_DAYS = 7


@dataclass(frozen=True, slots=True)
class WinRateFell:
    """The win rate fell: `cusum`, `floor`, or a losing `streak` (no reason to retrain alone)."""

    kind: Literal["cusum", "floor", "streak"]
    at_ms: int
    rate: float
    trades: int
    text: str


class WinRate:
    """The record of one source of outcomes, trades or signals.

    Args:
        reference_rate: The rate to hold, a fraction; None learns it from the first trades.
        floor: Share of wins over the last `floor_trades` below which it fell.
        floor_trades: Trades that the floor is judged on.
    """

    def __init__(
        self,
        reference_rate: float | None = 0.55,
        *,
        floor: float = 0.45,
        floor_trades: int = 100,
    ) -> None:
        self._floor = floor
        self._pnl: deque[tuple[int, float]] = deque()
        self._last: deque[bool] = deque(maxlen=floor_trades)
        self.reset(reference_rate)

    def reset(self, reference_rate: float | None) -> None:
        """Begin again for another model; the P&L goes on.

        Args:
            reference_rate: The rate to hold, a fraction; None learns it from the first trades. So
                do 0 and 1, which are of a few signals that all lost, or all won.

        Raises:
            BadObservation: If the rate is not inside 0..1.
        """
        if reference_rate is not None and not 0 <= reference_rate <= 1:
            raise BadObservation("reference_rate", reference_rate, "between 0 and 1")
        if reference_rate in {0, 1}:
            reference_rate = None
        self._last.clear()
        self._reference, self.trades, self._wins, self._streak = reference_rate, 0, 0, 0
        self._told: set[str] = set()
        # A rate that nobody judged is the mean of the trades themselves; what the floor is
        # judged on then is a model that wins as much above it as a fall that matters.
        anchored = self._floor + 2 * _TOLERANCE if reference_rate is None else reference_rate
        self._against = _cusum(anchored)
        self._detector = _cusum(None) if reference_rate is None else self._against

    @property
    def rate(self) -> float | None:
        """Fraction of wins over the last `floor_trades` trades; None without any."""
        return sum(self._last) / len(self._last) if self._last else None

    @property
    def recent(self) -> int:
        """The number of trades that the rate is of, at most `floor_trades`."""
        return len(self._last)

    def pnl(self, at_ms: int) -> float:
        """Return the P&L of the seven days before `at_ms`, in the unit it was given in."""
        start = at_ms - _PNL_DAYS * DAY_MS
        return math.fsum(pnl for closed_ms, pnl in self._pnl if start < closed_ms <= at_ms)

    def book(self, at_ms: int, pnl: float) -> None:
        """Add a trade that another model opened to the P&L only.

        Args:
            at_ms: When it closed, ms UTC.
            pnl: Its profit or loss, in quote units or as a fraction.

        Raises:
            BadObservation: If `pnl` is not finite.
        """
        if not math.isfinite(pnl):
            raise BadObservation("pnl", pnl, "a finite number")
        self._pnl.append((at_ms, pnl))
        while self._pnl[0][0] <= at_ms - _PNL_DAYS * DAY_MS:
            self._pnl.popleft()

    def update(self, at_ms: int, won: bool, pnl: float) -> tuple[WinRateFell, ...]:  # noqa: FBT001 - an outcome, no switch
        """Take one outcome; return the falls it showed, each kind once until `reset`.

        Args:
            at_ms: When it was known, ms UTC.
            won: Whether it won.
            pnl: Its profit or loss, in quote units or as a fraction.

        Raises:
            BadObservation: If `pnl` is not finite.
        """
        self.book(at_ms, pnl)
        won = bool(won)  # numpy's bool is no JSON
        self.trades += 1
        self._wins += won
        self._last.append(won)
        self._streak = 0 if won else self._streak + 1
        fell = self._detector.take(float(won))
        if self._against is not self._detector:
            self._against.take(float(won))
        found = [*self._fallen(at_ms, fell=fell), *self._below_floor(at_ms), *self._losing(at_ms)]
        if won:
            self._told.discard("streak")
        return tuple(found)

    def _tell(
        self, kind: Literal["cusum", "floor", "streak"], at_ms: int, text: str
    ) -> list[WinRateFell]:
        if kind in self._told:
            return []
        self._told.add(kind)
        return [WinRateFell(kind, at_ms, sum(self._last) / len(self._last), self.trades, text)]

    def _fallen(self, at_ms: int, *, fell: bool) -> list[WinRateFell]:
        if not fell:
            return []
        before = "its rate before" if self._reference is None else f"{self._reference:.0%}"
        text = f"the win rate fell below {before}: {self._recent()}"
        return self._tell("cusum", at_ms, text)

    def _below_floor(self, at_ms: int) -> list[WinRateFell]:
        full, rate = len(self._last) == self._last.maxlen, sum(self._last) / len(self._last)
        if not full or rate >= self._floor or self._against.evidence[1] < _FLOOR_EVIDENCE:
            return []
        return self._tell("floor", at_ms, f"{self._recent()}, the floor is {self._floor:.0%}")

    def _recent(self) -> str:
        rate = sum(self._last) / len(self._last)
        return f"{rate:.0%} of the last {len(self._last)} won"

    def _losing(self, at_ms: int) -> list[WinRateFell]:
        rate = self._reference or (self._wins + 1) / (self.trades + 2)
        if (1 - rate) ** self._streak > _STREAK_CHANCE:
            return []
        return self._tell("streak", at_ms, f"{self._streak} losses in a row")


def _cusum(rate: float | None) -> AnchoredPageHinkley:
    """Return the detector of a fall from a known rate, or from that of the first trades."""
    if rate is None:
        return AnchoredPageHinkley(
            threshold=_LEARNT_THRESHOLD, tolerance=_TOLERANCE, mode="down", warm_up=_LEARN_TRADES
        )
    return AnchoredPageHinkley(
        threshold=_THRESHOLD, tolerance=_TOLERANCE, mode="down", anchor=_ANCHOR_TRADES, mean=rate
    )

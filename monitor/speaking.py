"""Notice a model that speaks far more often than its decision rule was made for.

Thresholds are fixed on the bars that a model learnt from. Where the market gets wilder, many more
bars reach them, and a bot that was to trade rarely trades all day. Signals come in bursts, so the
shares of whole days are compared with twice the share out of fold. For as long as no day's share
is expected above that, an alarm comes on average after a hundred days or later, however often
anyone looks.

Method: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential
change detection", New England Journal of Statistics in Data Science 2 (2024), the Shiryaev-Roberts
e-detector, here over the bets of four bettors. A bettor's stake grows by what the day's share is
above the limit, and every day brings a new stake.
"""

from typing import Any, Final

import numpy as np

TIMES: Final = 2.0
"""How many times its share out of fold a model may speak."""
_DAYS: Final = 100
_STAKES: Final = np.array([0.1, 0.3, 0.5, 0.8])


class SpeakingRate:
    """The share of the bars on which a live model gives a signal.

    Args:
        expected: The share out of fold, of both sides; 0 if it is not known, then nothing is told.
        bars_per_day: Bars of a day, at least 1; of fewer bars than four a day, four are compared.
    """

    def __init__(self, expected: float, bars_per_day: int) -> None:
        self._expected, self._bars_per_day = expected, max(4, bars_per_day)
        self._bars = self._signals = self._of_day = 0
        self._evidence = np.zeros(len(_STAKES))
        self._told = False

    def update(self, *, signal: bool) -> str:
        """Take a bar that the model scored.

        Args:
            signal: Whether it gave a signal.

        Returns:
            A sentence when the model surely speaks too often and that was not told yet, else "".
        """
        self._bars += 1
        self._signals += signal
        self._of_day += signal
        if self._bars % self._bars_per_day:
            return ""
        share, self._of_day = self._of_day / self._bars_per_day, 0
        limit = TIMES * self._expected
        if self._told or not 0 < limit < 1:
            return ""
        self._evidence = (self._evidence + 1) * (1 + _STAKES * (share / limit - 1))
        if self._evidence.mean() < _DAYS:
            return ""
        self._told = True
        return (
            f"the live model gave a signal on {share:.1%} of the newest {self._bars_per_day} bars "
            f"and on {self._signals / self._bars:.1%} since it is live; its rule was made for "
            f"{self._expected:.1%}"
        )

    def document(self) -> dict[str, Any]:
        """Return plain JSON values; `share` is None before the first bar, `expected` if unknown."""
        return {
            "bars": self._bars,
            "share": round(self._signals / self._bars, 6) if self._bars else None,
            "expected": round(self._expected, 6) if self._expected > 0 else None,
            "too_often": self._told,
        }

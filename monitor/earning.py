"""Estimate what a signal or a trade earns after costs, with an interval for every look.

A person looks at the figure after each bar, and an ordinary 95 % interval is not made for this:
one that is looked at a thousand times leaves out the truth at some look far more often than one
time in twenty. A confidence sequence holds the truth at all looks together.

Method: I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy and A. Ramdas, "Time-uniform central limit
theory and asymptotic confidence sequences", Annals of Statistics 52 (2024), the normal mixture of
theorem 2.2. It needs no bound of the returns and no known variance, only enough of them to begin.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from monitor.errors import BadObservation

Source = Literal["signals", "trades"]

_LEVEL: Final = 0.05
LEAST: Final = 30
"""Returns before the first interval. With it, of 1,000 records of 3,000 returns without a mean, the
interval left out 0 at some look in 3 to 4 % (normal, and with the tails of Student's t with 3
degrees of freedom), and in 6 % where returns are as skewed as an exponential."""
_NARROWEST_AT: Final = 200  # the number of returns for which the mixture is tuned
_BP: Final = 1e4

Verdict = Literal["too few", "not shown", "shown", "loses"]


@dataclass(frozen=True, slots=True)
class Earned:
    """What one thing earned on average, after costs, in basis points.

    `low_bp` and `high_bp` are the 95 % confidence sequence, None with fewer than 30 returns.
    """

    count: int
    mean_bp: float | None
    low_bp: float | None
    high_bp: float | None

    @property
    def verdict(self) -> Verdict:
        """`shown` if it earns at every mean in the interval, `loses` if at none."""
        if self.low_bp is None or self.high_bp is None:
            return "too few"
        if self.low_bp > 0:
            return "shown"
        return "loses" if self.high_bp < 0 else "not shown"

    def __str__(self) -> str:
        if self.mean_bp is None or self.low_bp is None:
            return f"{self.count} since this model is live, {LEAST} are needed"
        interval = f"95 % {self.low_bp:+.1f} to {self.high_bp:+.1f}"
        return (
            f"{self.mean_bp:+.1f} bp each after costs, {interval} on {self.count}: {self.verdict}"
        )

    def document(self) -> dict[str, Any]:
        """Return plain JSON values; basis points with two decimals."""
        figures = {"mean_bp": self.mean_bp, "low_bp": self.low_bp, "high_bp": self.high_bp}
        rounded = {k: None if v is None else round(v, 2) for k, v in figures.items()}
        return {"count": self.count, **rounded, "verdict": self.verdict}


class EarningRecord:
    """The returns of one source: of a model's signals, or of a bot's trades.

    Those that overlap in time share what the market did, as the parts of one position do. Counted
    one by one they would look like evidence. So what is open together with the trade that came
    first is one return, of all their value.
    """

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._before = (0, 0.0, 0.0)  # without the newest return
        self._opened_ms = self._closed_ms = 0
        self._gained = self._value = 0.0

    def update(
        self, gain: float, *, value: float = 1.0, opened_ms: int = 0, closed_ms: int = 0
    ) -> None:
        """Take one return after costs, a fraction.

        Args:
            gain: The return.
            value: What it was earned on, above 0, in any unit.
            opened_ms: When that was opened, ms UTC.
            closed_ms: When it was closed; as `opened_ms` where it overlaps with nothing.

        Raises:
            BadObservation: If it is not finite.
        """
        if not math.isfinite(gain):
            raise BadObservation("gain", gain, "a finite number")
        if opened_ms < self._closed_ms and closed_ms > self._opened_ms:
            self._count, self._mean, self._squares = self._before
        else:
            self._before = self._count, self._mean, self._squares
            self._opened_ms, self._closed_ms = opened_ms, closed_ms
            self._gained = self._value = 0.0
        self._gained += gain * value
        self._value += value
        self._add(self._gained / self._value)

    def _add(self, gain: float) -> None:
        # Welford (1962): sums of squares would lose the digits of small returns.
        self._count += 1
        before = gain - self._mean
        self._mean += before / self._count
        self._squares += before * (gain - self._mean)

    def earned(self) -> Earned:
        """Return the estimate so far."""
        n = self._count
        if n < LEAST:
            return Earned(n, self._mean * _BP if n else None, None, None)
        deviation = math.sqrt(self._squares / (n - 1))
        half = deviation * _half_width(n)
        return Earned(n, *(_BP * v for v in (self._mean, self._mean - half, self._mean + half)))


class Earnings:
    """What signals and trades earn: of the live model, and of all since the start."""

    def __init__(self) -> None:
        self._since_start: dict[Source, EarningRecord] = {}
        self.begin()

    def begin(self) -> None:
        """Begin again for another model; what counts since the start goes on."""
        self._of_model: dict[Source, EarningRecord] = {}
        self._told: dict[Source, str] = {}

    def update(
        self, source: Source, gain: float, *, of_model: bool, **of_trade: Any
    ) -> Earned | None:
        """Take one return after costs.

        Args:
            source: Where it comes from.
            gain: A fraction.
            of_model: Whether the live model was asked for it.
            of_trade: What else `EarningRecord.update` takes.

        Returns:
            The estimate of the live model where it now surely earns or surely loses, and did not
            before; else None.

        Raises:
            BadObservation: If it is not finite.
        """
        self._since_start.setdefault(source, EarningRecord()).update(gain, **of_trade)
        if not of_model:
            return None
        record = self._of_model.setdefault(source, EarningRecord())
        record.update(gain, **of_trade)
        earned = record.earned()
        if earned.verdict not in {"shown", "loses"} or self._told.get(source) == earned.verdict:
            return None
        self._told[source] = earned.verdict
        return earned

    def document(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return plain JSON values by source; a source without returns has none."""
        return {
            source: {
                "of_model": self._of_model.get(source, EarningRecord()).earned().document(),
                "since_start": record.earned().document(),
            }
            for source, record in self._since_start.items()
        }


def _half_width(n: int) -> float:
    """Return half the width of the sequence after `n` returns, in standard deviations of one."""
    wide = math.log(1 / _LEVEL)
    rho2 = (2 * wide + math.log(2 * wide + 1)) / _NARROWEST_AT
    spread = n * rho2 + 1
    return math.sqrt(2 * spread / (n * n * rho2) * (0.5 * math.log(spread) + wide))

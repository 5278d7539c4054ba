"""Follow the model's own signals to their outcome, so that a slot without a bot is judged too."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignalOutcome:
    """A signal's end: `gain` is the return over the horizon in the signal's direction."""

    t: int
    gain: float

    @property
    def won(self) -> bool:
        """Whether the price went where the signal said."""
        return self.gain > 0


def decision(p: tuple[float, float, float], up: float, down: float) -> int:
    """Return +1 for UP, -1 for DOWN, 0 for NEUTRAL, as the model's own thresholds say.

    Args:
        p: Probabilities DOWN, NEUTRAL, UP.
        up: Probability from which the UP side speaks.
        down: The same for the DOWN side; the larger excess wins.
    """
    over_up, over_down = p[2] - up, p[0] - down
    if max(over_up, over_down) < 0:
        return 0
    return 1 if over_up >= over_down else -1


class SignalBook:
    """One signal at a time: overlapping horizons would count the same move many times.

    Args:
        horizon_ms: Length of the label horizon.
        up: Signal threshold of the UP side.
        down: Signal threshold of the DOWN side.
    """

    def __init__(self, *, horizon_ms: int, up: float, down: float) -> None:
        self._horizon_ms, self._up, self._down = horizon_ms, up, down
        self._open: tuple[int, int, float] | None = None

    def observe(
        self, t: int, close: float, p: tuple[float, float, float] | None
    ) -> SignalOutcome | None:
        """Take one bar; return the outcome that it settled, if any.

        Args:
            t: Open time of the bar.
            close: Its close.
            p: What the live model said, if it scored the bar.
        """
        settled = None
        if self._open is not None and t >= self._open[0]:
            due, side, since = self._open
            self._open = None
            if t == due:  # after a gap the close at the horizon is not known
                settled = SignalOutcome(t, side * (close / since - 1))
        if self._open is None and p is not None:
            side = decision(p, self._up, self._down)
            if side:
                self._open = (t + self._horizon_ms, side, close)
        return settled

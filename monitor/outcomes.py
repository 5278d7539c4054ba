"""Follow the model's signals to their outcome, to judge a slot without trades of a bot too."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignalOutcome:
    """The outcome of a signal; `gain` is the return over the horizon in its direction."""

    t: int
    gain: float

    @property
    def won(self) -> bool:
        """Whether the price moved in the direction of the signal."""
        return self.gain > 0


def decision(p: tuple[float, float, float], up: float, down: float) -> int:
    """Return +1 for UP, -1 for DOWN, 0 for NEUTRAL, as the model's own thresholds say.

    Args:
        p: Probabilities DOWN, NEUTRAL, UP.
        up: Signal threshold of the UP side, a probability.
        down: Signal threshold of the DOWN side; the larger excess wins, and equal ones are NEUTRAL.
    """
    over_up, over_down = p[2] - up, p[0] - down
    if max(over_up, over_down) < 0 or over_up == over_down:
        return 0
    return 1 if over_up > over_down else -1


class SignalBook:
    """Follows one signal at a time: overlapping ones would count the same move many times.

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
            t: Open time of the bar, ms UTC.
            close: Its close.
            p: Probabilities of the live model, if it scored the bar.
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

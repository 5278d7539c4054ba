"""Compare a new model with the one it replaced, and decide whether it is worse.

Two days have far too few trades for this. So both models score every bar, and their log losses
are compared. The test may be evaluated after every pair without losing its level. It tracks the
wealth of a gambler who bets that the new model is worse. If it is not, the wealth ever reaches
1/level with probability `level` at most (Ville's inequality).

The bet is on the mean difference of the log losses, clipped on both sides alike. The largest loss
of a pair is known from the probabilities before its outcome. So the stakes are higher where the
models hardly differ.
Method: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
variables by betting", Journal of the Royal Statistical Society B 86 (2024).
"""

import math
from dataclasses import dataclass

from monitor.policy import HOUR_MS
from monitor.questions import Probabilities, carried, middle

# The first stake is spread evenly over these bets, in parts of the wealth per nat. The best bet
# is near a half against a model that is too cautious, and above one against a model that is
# too confident, which loses seldom and then much.
_BETS = (0.25, 0.5, 1.0, 2.0)
# The largest part of the wealth that one pair may cost.
_AT_RISK = 0.95
# The interval is narrowest where the squared ranges of the pairs, over 4, sum to about 8 times
# this: after a day of models that differ by a fifth of a nat.
_MIXTURE = 0.03
# Differences are clipped to this many nats, so that no single pair decides.
_CLIP = 2.0
_TINY = 1e-12

Excesses = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ProbationVerdict:
    """The end of a probation; `worse` asks for a rollback. `excess` is in nats per pair."""

    worse: bool
    pairs: int
    excess: float
    evidence: float

    def __str__(self) -> str:
        figures = f"mean excess log loss {self.excess:+.3f} over {self.pairs} pairs"
        if self.worse:
            return f"worse than the previous model: {figures}, evidence {self.evidence:.0f} : 1"
        return f"no evidence that it is worse than the previous model: {figures}"


def log_loss_excess(p: Probabilities, shadow: Probabilities, label: int) -> float:
    """Return how many nats worse `p` did than `shadow` on a bar labelled 0, 1 or 2."""
    return math.log(max(shadow[label], _TINY)) - math.log(max(p[label], _TINY))


def end_of(began_ms: int, hours: float) -> int:
    """Return when a probation ends that nothing speaks against, ms UTC."""
    return began_ms + round(hours * HOUR_MS)


class Probation:
    """Compares a new model with its predecessor on non-overlapping label horizons.

    Args:
        shadow_id: Version of the predecessor.
        began_ms: When the new model went live.
        ends_ms: When it is confirmed if nothing speaks against it.
        horizon_ms: Length of the label horizon.
        threshold: Return, as a fraction, beyond which the new model's labels are UP or DOWN.
        shadow_threshold: The same of its predecessor; 0 if it is the same. Where they differ, a
            bar is labelled by one in the middle, to which the probabilities of both are carried.
        level: Chance that a model which is not worse is ever called so.
    """

    def __init__(
        self,
        shadow_id: str,
        *,
        began_ms: int,
        hours: float,
        horizon_ms: int,
        threshold: float,
        shadow_threshold: float = 0.0,
        level: float = 0.05,
    ) -> None:
        self.shadow_id = shadow_id
        self.began_ms = began_ms
        self.ends_ms = end_of(began_ms, hours)
        self._horizon_ms, self._level = horizon_ms, level
        self._threshold, self._times = threshold, (1.0, 1.0)
        if threshold and shadow_threshold not in {0.0, threshold}:
            self._threshold = middle(threshold, shadow_threshold)
            self._times = self._threshold / threshold, self._threshold / shadow_threshold
        self._open: tuple[int, float, Excesses] | None = None
        self._wealth = [1.0] * len(_BETS)
        self._pairs, self._sum, self._clipped, self._variance = 0, 0.0, 0.0, 0.0
        self._bars, self._if_shadow, self._if_ours = 0, 0.0, 0.0

    @property
    def evidence(self) -> float:
        """The gambler's wealth over a first stake of 1; `1 / level` ends the probation."""
        return sum(self._wealth) / len(_BETS)

    def observe(
        self, t: int, close: float, p: Probabilities | None, shadow: Probabilities | None
    ) -> None:
        """Take one bar: settle the pair whose horizon ends here, and open the next one.

        Args:
            t: Open time of the bar, ms UTC.
            close: Its close.
            p: Probabilities of the new model, if it scored the bar.
            shadow: Probabilities of its predecessor.
        """
        if self._open is not None and t >= self._open[0]:
            due, since, excesses = self._open
            self._open = None
            if t == due:  # after a gap the outcome at the horizon is not known
                self._settle(close / since - 1, excesses)
        if p is None or shadow is None:
            return
        p, shadow = carried(p, self._times[0]), carried(shadow, self._times[1])
        down, neutral, up = (log_loss_excess(p, shadow, label) for label in range(3))
        self._bars += 1
        self._if_shadow += shadow[0] * down + shadow[1] * neutral + shadow[2] * up
        self._if_ours += p[0] * down + p[1] * neutral + p[2] * up
        if self._open is None:
            self._open = (t + self._horizon_ms, close, (down, neutral, up))

    def estimate(self) -> dict[str, float]:
        """Return the comparison so far, also before the first outcome is known.

        `excess_if_previous_right` and `excess_if_new_right` are the mean excess log loss of the
        new model in nats a bar, if one or the other gave the true probabilities (plus or minus
        the Kullback-Leibler divergence). Where both are near zero, the models hardly differ.
        `excess` is the mean over the `pairs` whose outcome is known; `excess_low` and
        `excess_high` are a 95 % interval that holds at every look, from the first pair on.
        """
        bars = max(1, self._bars)
        known = {}
        if self._pairs:
            low, high = self._interval()
            mean = self._sum / self._pairs
            known = {"excess": mean, "excess_low": low, "excess_high": high}
        return {
            "bars": self._bars,
            "pairs": self._pairs,
            "evidence": self.evidence,
            "excess_if_previous_right": self._if_shadow / bars,
            "excess_if_new_right": self._if_ours / bars,
            **known,
        }

    def verdict(self, now_ms: int) -> ProbationVerdict | None:
        """Return the result of the probation, None while it goes on."""
        worse = self.evidence >= 1 / self._level
        if not worse and now_ms < self.ends_ms:
            return None
        mean = self._sum / self._pairs if self._pairs else 0.0
        return ProbationVerdict(worse, self._pairs, mean, self.evidence)

    def _interval(self) -> tuple[float, float]:
        """Return a confidence sequence of the mean clipped excess, nats a pair.

        The range of each pair is known before its outcome, so its variance is at most a quarter
        of the range squared (Hoeffding 1963). The bound is the two-sided normal mixture of S.
        Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric,
        nonasymptotic confidence sequences", Annals of Statistics 49 (2021), equation 14.
        """
        spread = self._variance + _MIXTURE
        bound = math.sqrt(spread * math.log(spread / (_MIXTURE * self._level**2)))
        return (self._clipped - bound) / self._pairs, (self._clipped + bound) / self._pairs

    def _settle(self, future_return: float, excesses: Excesses) -> None:
        label = 1 + (future_return > self._threshold) - (future_return < -self._threshold)
        self._pairs += 1
        self._sum += excesses[label]
        clipped = [max(-_CLIP, min(_CLIP, excess)) for excess in excesses]
        self._clipped += clipped[label]
        self._variance += (max(clipped) - min(clipped)) ** 2 / 4
        worst = max(_TINY, -min(clipped))
        self._wealth = [
            wealth * (1 + min(bet, _AT_RISK / worst) * clipped[label])
            for wealth, bet in zip(self._wealth, _BETS, strict=True)
        ]

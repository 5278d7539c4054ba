"""Simulate swaps after which the new model answers about another label threshold.

python -m benchmarks.ladder [--swaps 200] [--seed 0] [--json]

The market is made up: a return of the hour is Student's t with 4 degrees of freedom times a
volatility that changes over hours, and its direction is a little predictable. Both models know
volatility and direction up to a noise of their own, the previous one about the threshold of
before, the new one about the threshold of now. The new one is spoilt as in `benchmarks.probation`.
"Judged by the new" is without the question in the middle.
"""

import argparse
import json
from typing import Any

import numpy as np
from scipy.stats import t as student

from benchmarks.probation import BAR_MS, HORIZON_BARS, HOURS, SPOILT, Logits, chances
from monitor.policy import HOUR_MS
from monitor.probation import Probation, ProbationVerdict

MOVES = {
    "same threshold": (0.005, 0.005),
    "a step down": (0.0075, 0.005),
    "three steps down": (0.015, 0.005),
    "a step up": (0.003, 0.005),
    "three steps up": (0.0015, 0.005),
}
FREEDOM, SCALE, NOISE, LEAN = 4, 0.0045, 0.1, 0.4


def asked(spread: Logits, lean: Logits, threshold: float) -> Logits:
    """Return the logits DOWN, NEUTRAL, UP of moves beyond a threshold, shape (n, 3)."""
    down = student.cdf((-threshold - lean) / spread, FREEDOM)
    up = student.sf((threshold - lean) / spread, FREEDOM)
    return np.asarray(np.log(np.column_stack([down, 1 - down - up, up])))


def swap(
    seed: int, what: str, before: float, now: float, told: bool
) -> tuple[ProbationVerdict, float]:
    """Watch one swap to its end; return the verdict and after how many hours it came."""
    rng, hours = np.random.default_rng(seed), HOURS + 1
    wild = np.zeros(hours)
    for hour in range(1, hours):
        wild[hour] = 0.9 * wild[hour - 1] + 0.25 * rng.standard_normal()
    spread, lean = SCALE * np.exp(wild), LEAN * rng.standard_normal(hours)
    models = []
    for threshold, spoil in ((now, SPOILT[what]), (before, SPOILT["equal"])):
        known = spread * np.exp(NOISE * rng.standard_normal(hours))
        leans = known * (lean + NOISE * rng.standard_normal(hours))
        models.append(chances(spoil(asked(known, leans, threshold))).tolist())
    returns = spread * (lean + student.rvs(FREEDOM, size=hours, random_state=rng))
    watched = Probation(
        "previous",
        began_ms=0,
        hours=HOURS,
        horizon_ms=HORIZON_BARS * BAR_MS,
        threshold=now,
        shadow_threshold=before if told else 0.0,
    )
    close = 100.0
    for hour in range(hours):
        p, shadow = (tuple(model[hour]) for model in models)
        watched.observe(hour * HOUR_MS, close, p, shadow)
        if (verdict := watched.verdict((hour + 1) * HOUR_MS)) is not None:
            return verdict, hour + 1.0
        close *= 1 + max(-0.5, returns[hour])
    raise AssertionError("a probation must end")


def measured(what: str, move: str, swaps: int, seed: int, *, told: bool) -> dict[str, Any]:
    """Return how often it was rolled back, and the mean excess loss in nats a pair."""
    ends = [swap(seed + i, what, *MOVES[move], told) for i in range(swaps)]
    return {
        "rolled_back": round(sum(verdict.worse for verdict, _ in ends) / swaps, 3),
        "mean_excess_nats": round(float(np.mean([verdict.excess for verdict, _ in ends])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {
        f"{what}, {move}, {'in the middle' if told else 'judged by the new'}": measured(
            what, move, options.swaps, options.seed, told=told
        )
        for what in SPOILT
        for move in MOVES
        for told in ((True,) if move == "same threshold" else (False, True))
    }
    if options.json:
        print(json.dumps({"swaps": options.swaps, **found}))
        return
    for name, row in found.items():
        print(f"{name:55} {row}")


if __name__ == "__main__":
    main()

"""Simulate swaps and their probation: equal models, and models made worse on purpose.

python -m benchmarks.probation [--swaps 200] [--seed 0] [--json]

The market is made up: the probability of a move within the hour changes over hours, and its
direction is a little predictable. The previous model knows the true logits up to a noise of its
own, and an equal one has another noise of the same size. The worse ones are an equal one with UP
and DOWN swapped, with doubled logits (overconfident), or with the base rates only. In one market
the direction is hardly predictable, in the other five times as much: where it hardly is, swapping
UP and DOWN costs hardly anything.
A bar is 5 minutes, the horizon an hour, as on BTC-5m.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.policy import HOUR_MS
from monitor.probation import Probation, ProbationVerdict
from monitor.questions import Probabilities

BAR_MS, HORIZON_BARS, HOURS = HOUR_MS // 12, 12, 48
THRESHOLD, MOVE = 0.005, 0.008
NOISE = 0.15
DIRECTIONS = {"faint direction": 0.3, "strong direction": 1.5}
Logits = NDArray[np.float64]
SPOILT: dict[str, Callable[[Logits], Logits]] = {
    "equal": lambda logits: logits,
    "UP and DOWN swapped": lambda logits: logits[:, ::-1],
    "twice as sure": lambda logits: 2 * logits,
    "knows nothing": lambda logits: np.broadcast_to(logits.mean(axis=0), logits.shape),
    "bad class order": lambda logits: np.roll(logits, 1, axis=1),
}


def law(rng: np.random.Generator, bars: int, direction: float) -> Logits:
    """Return the market's true logits DOWN, NEUTRAL, UP, constant within an hour: (bars, 3)."""
    hours = -(-bars // HORIZON_BARS)
    wild, leaning = np.zeros(hours), rng.standard_normal(hours) * direction
    for hour in range(1, hours):
        wild[hour] = 0.9 * wild[hour - 1] + 0.4 * rng.standard_normal()
    logits = np.column_stack([wild - leaning, np.full(hours, 1.5), wild + leaning])
    return logits.repeat(HORIZON_BARS, axis=0)[:bars]


def chances(logits: Logits) -> Logits:
    """Return probabilities, rows sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def swap(
    seed: int, spoil: Callable[[Logits], Logits], direction: float
) -> tuple[ProbationVerdict, float]:
    """Watch one swap to its end; return the verdict and after how many hours it came."""
    rng = np.random.default_rng(seed)
    bars = HORIZON_BARS * (HOURS + 1)
    truth = law(rng, bars, direction)
    models = [
        chances(change(truth + NOISE * rng.standard_normal(truth.shape)))
        for change in (spoil, lambda logits: logits)
    ]
    moves = [rng.choice(3, p=p) - 1 for p in chances(truth)[::HORIZON_BARS]]
    watched = Probation(
        "previous",
        began_ms=0,
        hours=HOURS,
        horizon_ms=HORIZON_BARS * BAR_MS,
        threshold=THRESHOLD,
    )
    close = 100.0
    for bar in range(bars):
        p, shadow = (_said(model[bar]) for model in models)
        watched.observe(bar * BAR_MS, close, p, shadow)
        verdict = watched.verdict((bar + 1) * BAR_MS)
        if verdict is not None:
            return verdict, (bar + 1) * BAR_MS / HOUR_MS
        if bar % HORIZON_BARS == 0:  # the move of the hour that this bar's pair is judged by
            close *= 1 + MOVE * moves[bar // HORIZON_BARS]
    raise AssertionError("a probation must end")


def _said(p: Logits) -> Probabilities:
    return float(p[0]), float(p[1]), float(p[2])


def measured(what: str, direction: float, swaps: int, seed: int) -> dict[str, Any]:
    """Return how often it was rolled back, and the median hours until then."""
    ends = [swap(seed + i, SPOILT[what], direction) for i in range(swaps)]
    hours = [hour for verdict, hour in ends if verdict.worse]
    excess = [verdict.excess for verdict, _ in ends]
    return {
        "rolled_back": round(len(hours) / swaps, 3),
        "median_hours": round(float(np.median(hours)), 1) if hours else None,
        "mean_excess_nats": round(float(np.mean(excess)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {
        f"{what}, {name}": measured(what, direction, options.swaps, options.seed)
        for name, direction in DIRECTIONS.items()
        for what in SPOILT
    }
    if options.json:
        print(json.dumps({"swaps": options.swaps, **found}))
        return
    for name, row in found.items():
        print(f"{name:40} {row}")


if __name__ == "__main__":
    main()

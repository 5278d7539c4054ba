"""Regret is the difference to the best fixed schedule, and says how sure it is."""

import numpy as np
import pytest

from daemon.backtest.performance import Track
from daemon.backtest.regret import FIXED, Regret, regrets

BARS = 4000


def track(loss: float, *, seed: int = 0, noise: float = 0.0, net: float = 0.0) -> Track:
    """Return a policy that loses `loss` a bar and earns `net` every tenth bar from 1000 on."""
    rng = np.random.default_rng(seed)
    losses = np.full(BARS, np.nan)
    losses[1000:] = loss + noise * rng.normal(size=BARS - 1000)
    earned = np.zeros(BARS)
    earned[1000::10] = net
    return Track(losses, np.full(BARS, 0.005), earned)


def test_a_policy_is_compared_with_the_schedule_that_was_best_at_each() -> None:
    tracks = {
        "drift": track(0.42, net=0.001),
        "never": track(0.44, net=0.002),
        "weekly": track(0.41, net=-0.001),
    }
    found = regrets(tracks, 12)
    drift = found["drift"]
    assert drift.log_loss is not None
    assert drift.pnl is not None
    assert drift.log_loss.against == "weekly"
    assert drift.log_loss.value == pytest.approx(0.01)
    assert drift.log_loss.low == pytest.approx(drift.log_loss.high), "the same on each bar"
    assert drift.pnl.against == "never"
    assert drift.pnl.value == pytest.approx(-0.3), "300 signals that each earned 10 bp less"
    assert drift.pnl.low == pytest.approx(-0.3, rel=0.05)
    best = found["weekly"].log_loss
    assert best is not None
    assert best.is_best
    assert not drift.log_loss.is_best


def test_what_chance_explains_has_an_interval_around_zero() -> None:
    noisy = {"drift": track(0.42, seed=1, noise=0.2), "never": track(0.42, seed=2, noise=0.2)}
    found = regrets(noisy, 12)["drift"].log_loss
    assert found is not None
    assert found.low < 0 < found.high
    surely = {**noisy, "drift": track(0.45, seed=1, noise=0.2)}
    worse = regrets(surely, 12)["drift"].log_loss
    assert worse is not None
    assert worse.low > 0


def test_answers_to_another_question_are_not_compared() -> None:
    other = track(0.30)
    other.limit[:] = 0.01
    found = regrets({"drift": other, "never": track(0.42)}, 12)["drift"]
    assert found.log_loss is None
    assert found.pnl is not None, "money is money"


def test_without_a_fixed_schedule_there_is_nothing_to_regret() -> None:
    assert regrets({"drift": track(0.42)}, 12) == {"drift": Regret(None, None)}
    assert "drift" not in FIXED


def test_a_market_that_no_model_answered_has_no_regret() -> None:
    silent = Track(np.full(BARS, np.nan), np.full(BARS, np.nan), np.zeros(BARS))
    assert regrets({"never": silent, "daily": silent}, 12)["daily"] == Regret(None, None)

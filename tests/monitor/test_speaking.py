"""A model that speaks far more often than it was made to is noticed, and a burst is not."""

import numpy as np
import pytest

from monitor.speaking import SpeakingRate

DAY = 288


def first_told(said: np.ndarray, expected: float) -> int | None:
    """Return the bar at which it was told, None if never."""
    rate = SpeakingRate(expected, DAY)
    return next((i for i, signal in enumerate(said) if rate.update(signal=bool(signal))), None)


def bursts(rng: np.random.Generator, days: int, share: float) -> np.ndarray:
    """Make signals of which most fall on one day in five, as volatile days come."""
    wild = np.repeat(rng.random(days) < 0.2, DAY)
    return rng.random(days * DAY) < np.where(wild, 4 * share, share / 4)


@pytest.mark.parametrize("calm_days", [0, 40])
def test_a_model_that_gets_old_is_noticed_in_days_however_long_it_was_calm(calm_days: int) -> None:
    rng = np.random.default_rng(0)
    calm, wild = bursts(rng, calm_days, 0.01), rng.random(20 * DAY) < 0.15
    told = first_told(np.concatenate((calm, wild)), 0.01)
    assert told is not None
    assert calm_days <= told // DAY < calm_days + 4


def test_as_often_as_expected_is_never_told_however_bursty() -> None:
    rng = np.random.default_rng(1)
    assert [first_told(bursts(rng, 200, 0.01), 0.01) for _ in range(10)] == [None] * 10


def test_at_the_limit_an_alarm_comes_after_a_hundred_days_on_average() -> None:
    rng = np.random.default_rng(2)
    told = [first_told(bursts(rng, 400, 0.02), 0.01) for _ in range(20)]
    assert np.mean([400 if one is None else one // DAY for one in told]) > 100


@pytest.mark.parametrize("expected", [0.0, 0.6])
def test_nothing_is_told_where_no_share_would_be_too_much(expected: float) -> None:
    assert first_told(np.ones(30 * DAY), expected) is None


def test_its_figures_are_of_all_bars_since_the_model_is_live() -> None:
    rate = SpeakingRate(0.01, DAY)
    assert rate.document()["share"] is None
    for signal in (True, False, False, False):
        rate.update(signal=signal)
    assert rate.document() == {"bars": 4, "share": 0.25, "expected": 0.01, "too_often": False}

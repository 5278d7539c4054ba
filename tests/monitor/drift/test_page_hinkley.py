import numpy as np
from river.drift import PageHinkley

from monitor.drift.calibration import page_hinkley
from monitor.drift.page_hinkley import AnchoredPageHinkley


def test_an_anchored_test_is_rivers_own_after_as_many_observations_of_the_mean() -> None:
    ours = AnchoredPageHinkley(threshold=20.0, tolerance=0.5, anchor=300, mean=0.25)
    theirs = PageHinkley(min_instances=1, delta=0.5, threshold=20.0, alpha=1.0)
    for _ in range(300):
        theirs.update(0.25)
    values = np.random.default_rng(1).standard_normal(2_000) + np.linspace(0, 2, 2_000)
    fired = []
    for i, value in enumerate(values):
        theirs.update(value)
        assert ours.take(value) == theirs.drift_detected
        if theirs.drift_detected:
            fired.append(i)
            break
    assert fired


def test_the_replay_for_calibration_holds_the_same_evidence_as_the_live_test() -> None:
    values = np.random.default_rng(2).standard_normal(500)
    live = AnchoredPageHinkley(threshold=1e9, tolerance=0.7, anchor=100)
    rise, fall = page_hinkley(values[None], 100, 0.7)
    for i, value in enumerate(values):
        live.take(value)
        np.testing.assert_allclose(np.multiply(live.evidence, 1e9), (rise[0, i], fall[0, i]))


def test_after_an_alarm_it_begins_again_at_its_anchor() -> None:
    test = AnchoredPageHinkley(threshold=2.0, tolerance=0.5, anchor=10_000)
    assert [test.take(5.0) for _ in range(3)] == [True, True, True]
    assert not test.take(0.0)

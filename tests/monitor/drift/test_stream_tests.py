"""All streams together are tested as river would test each by itself."""

import numpy as np

from monitor.drift.page_hinkley import AnchoredPageHinkley
from monitor.drift.stream_tests import StreamTests

THRESHOLDS, TOLERANCES = np.array([9.0, 14.0, 1e9, 6.0]), np.array([0.5, 0.3, 0.7, 1.2])
ANCHOR = 300


def test_every_number_is_rivers_own_up_to_the_alarm() -> None:
    rng = np.random.default_rng(1)
    limits = zip(THRESHOLDS.tolist(), TOLERANCES.tolist(), strict=True)
    theirs = [AnchoredPageHinkley(threshold=a, tolerance=b, anchor=ANCHOR) for a, b in limits]
    ours, muted, alarms = StreamTests(THRESHOLDS, TOLERANCES, ANCHOR), np.zeros(4, dtype=bool), 0
    for i in range(900):
        values = rng.standard_normal(4) + (i > 500) * np.array([0.9, -0.8, 0.5, 0.0])
        fed = ~muted & (rng.random(4) > 0.1)
        ours.feed(i, values, fed)
        for j in np.flatnonzero(fed):
            assert theirs[j].take(float(values[j])) == ours.fired[j]
            assert theirs[j].evidence == tuple(ours.evidence[:, j])
            alarms += bool(ours.fired[j])
        muted |= ours.fired & fed
    assert muted.tolist() == [True, True, False, False]
    assert alarms == 2


def test_a_change_is_dated_from_where_its_evidence_began_to_grow() -> None:
    ours, every = StreamTests(np.array([5.0]), np.array([0.5]), ANCHOR), np.ones(1, dtype=bool)
    for t in range(20):
        ours.feed(t, np.array([-2.0 if t >= 17 else 0.0]), every)
    evidence, direction, since_t, mean = ours.change(0)
    assert (direction, since_t, mean) == ("down", 17, -2.0)
    assert 0.8 < evidence < 1.0

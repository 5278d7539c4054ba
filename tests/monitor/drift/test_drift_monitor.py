"""Drift is seen, false alarms are rare, and a broken feed is not drift."""

import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from monitor.drift.calibration import Calibration, calibrate
from monitor.drift.drift_monitor import DriftDetected, DriftMonitor
from monitor.drift.normal_scores import DAY_MS
from monitor.errors import BadObservation, BadReference

BAR_MS = 300_000
HOUR_BARS = 12
NAMES = tuple("abcdef")
START_MS = 20_000 * DAY_MS


def market(bars: int, seed: int, *, memory: float = 0.9) -> np.ndarray:
    """Six features with memory, a daily cycle in `b`, a heavy tail in `c`, a bond of `d` to `e`."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((bars + 500, len(NAMES)))
    rows: np.ndarray = lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise, axis=0)[500:]
    rows[:, 1] += 2 * np.sin(np.arange(bars) * 2 * np.pi / 288)
    rows[:, 2] = np.exp(rows[:, 2])
    rows[:, 3] = rows[:, 4] + 0.2 * rng.standard_normal(bars)
    rows[:, 5] = 0.0  # a column without a cohort
    return rows


@cache
def learnt() -> Calibration:
    rows = market(60 * 288, 1)
    return calibrate(rows, NAMES, 288, reference_t=START_MS + BAR_MS * np.arange(-len(rows), 0))


def watch(monitor: DriftMonitor, rows: np.ndarray) -> list[DriftDetected]:
    return [
        found for i, row in enumerate(rows) for found in monitor.update(START_MS + BAR_MS * i, row)
    ]


def hours_until(alarm: DriftDetected) -> float:
    return (alarm.t - START_MS) / 3_600_000


def test_stable_features_raise_at_most_one_alarm_a_month_on_average() -> None:
    alarms = [
        len(watch(DriftMonitor.from_calibration(learnt()), market(30 * 288, seed)))
        for seed in range(10, 16)
    ]
    assert np.mean(alarms) <= 1.0


def test_a_shift_of_one_sd_of_a_fast_feature_is_seen_within_four_hours() -> None:
    rows = market(40 * 288, 2, memory=0.0)
    calibration = calibrate(rows, NAMES, 288)
    delays = []
    for seed in range(20, 29):
        live = market(48 * HOUR_BARS, seed, memory=0.0)
        live[:, 0] += 1.0
        found = watch(DriftMonitor.from_calibration(calibration), live)
        delays.append(min(hours_until(alarm) for alarm in found if alarm.name == "a"))
        first = found[0]
        assert (first.name, first.direction) == ("a", "up")
        assert first.score >= 1
    assert np.median(delays) <= 4


def test_a_doubled_scale_is_seen_and_called_so() -> None:
    calibration = calibrate(market(40 * 288, 2, memory=0.3), NAMES, 288)
    live = market(72 * HOUR_BARS, 30, memory=0.3)
    live[:, 0] *= 2
    first = watch(DriftMonitor.from_calibration(calibration), live)[0]
    assert (first.name, first.aspect, first.direction) == ("a", "scale", "up")
    assert hours_until(first) <= 24


def test_a_broken_relation_is_seen_long_before_the_level_could_tell() -> None:
    live = market(72 * HOUR_BARS, 31)
    live[:, 3] += 1.0
    first = watch(DriftMonitor.from_calibration(learnt()), live)[0]
    assert (first.name, first.aspect) == ("d", "relation")
    assert hours_until(first) <= 6
    assert "its relation to the other features" in str(first)


def test_twice_as_wild_returns_are_seen_within_a_day_where_volatility_wanders() -> None:
    names = ("rv_1h", "depth_proxy")

    def volatile(days: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        uneven = rng.standard_normal(days).repeat(288)
        mood = 0.6 * uneven + 0.2 * rng.standard_normal(days).repeat(288)
        noise = rng.standard_normal((2, days * 288))
        return np.column_stack([np.exp(mood + 0.5 * noise[0]), np.exp(0.5 * uneven) * noise[1]])

    calibration = calibrate(volatile(90, 1), names, 288)
    delays = []
    for seed in range(50, 59):
        live = volatile(6, seed)
        live[:, 0] *= 2
        alarm = watch(DriftMonitor.from_calibration(calibration), live)[0]
        delays.append(hours_until(alarm))
        assert (alarm.name, alarm.direction) == ("rv_1h", "up")
    assert np.median(delays) <= 24
    assert calibration.streams[-1] == ("rv_1h", "returns")


def test_an_alarm_says_since_when_and_by_how_much() -> None:
    live = market(96 * HOUR_BARS, 32)
    live[48 * HOUR_BARS :, 0] += 3.0
    (alarm,) = watch(DriftMonitor.from_calibration(learnt()), live)
    assert abs(alarm.since_t - (START_MS + 48 * 3_600_000)) <= 6 * 3_600_000
    assert alarm.size > 1
    assert alarm.fields()["name"] == "a"


def test_one_change_raises_one_alarm_and_stays_in_the_scores() -> None:
    live = market(20 * 288, 34)
    live[:, 0] += 3.0
    monitor = DriftMonitor.from_calibration(learnt())
    assert [alarm.name for alarm in watch(monitor, live)] == ["a"]
    assert monitor.drifted == ("a",)
    assert monitor.scores()["a"] >= 1
    assert monitor.scores()["f"] == 0


def test_the_daily_cycle_is_no_drift() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    assert [alarm for alarm in watch(monitor, market(10 * 288, 34)) if alarm.name == "b"] == []


def test_a_missing_row_is_one_fault_of_the_feed_and_never_drift() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    rows = market(600, 35)
    rows[100:400] = np.nan
    faults = []
    for i, row in enumerate(rows):
        assert monitor.update(START_MS + BAR_MS * i, row) == ()
        faults += [(i, str(fault)) for fault in monitor.faults()]
    assert [i for i, _ in faults] == [100]
    assert "all features: missing" in faults[0][1]
    assert all(np.isfinite(score) for score in monitor.scores().values())


def test_a_frozen_feature_is_a_fault_after_an_hour_but_a_constant_column_is_not() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    rows = market(288, 36)
    rows[50:100, 4] = rows[50, 4]
    faults = []
    for i, row in enumerate(rows):
        monitor.update(START_MS + BAR_MS * i, row)
        faults += [(i, fault.name, fault.kind, fault.since_t) for fault in monitor.faults()]
    assert faults == [(61, "e", "frozen", START_MS + BAR_MS * 50)]


def thin_market(bars: int, seed: int, traded: float = 0.3) -> np.ndarray:
    """Return rows whose first four columns stand at 0 on bars without a trade, the others never."""
    rng = np.random.default_rng(seed)
    rows = market(bars, seed)
    rows[rng.random(bars) > traded, :4] = 0.0
    return rows


@cache
def learnt_thin() -> Calibration:
    return calibrate(thin_market(40 * 288, 3), NAMES, 288)


def faults_of(
    monitor: DriftMonitor, rows: np.ndarray, flat: Sequence[bool]
) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for i, row in enumerate(rows):
        monitor.update(START_MS + BAR_MS * i, row, flat=flat[i])
        found += [(i, fault.name, fault.kind) for fault in monitor.faults()]
    return found


def test_a_market_without_trades_is_no_fault_of_the_feed() -> None:
    rows = thin_market(600, 42)
    rows[100:400, :4] = 0.0
    rows[200:400] = rows[200]  # in the end every window is flat too
    flat = [112 <= i < 400 for i in range(600)]
    assert faults_of(DriftMonitor.from_calibration(learnt_thin()), rows, flat) == []


def test_where_few_bars_are_traded_a_frozen_feature_shows_on_those_that_are() -> None:
    rows = thin_market(600, 43)
    rows[100:, 1] = rows[100, 1]
    ((bar, name, kind),) = faults_of(
        DriftMonitor.from_calibration(learnt_thin()), rows, [False] * 600
    )
    assert (name, kind) == ("b", "frozen")
    moved = (np.diff(rows[100 : bar + 1, 0]) != 0).sum()
    assert 11 <= moved <= 25


def test_a_row_that_stands_still_beside_a_moving_price_is_one_fault() -> None:
    rows = market(200, 44)
    rows[100:] = rows[100]
    faults = faults_of(DriftMonitor.from_calibration(learnt()), rows, [False] * 200)
    assert faults == [(111, "all features", "frozen")]


def test_an_infinite_value_is_missing_and_the_other_features_are_still_watched() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    rows = market(5 * 288, 37)
    rows[:, 4] = np.inf
    rows[:, 0] += 3.0
    assert [alarm.name for alarm in watch(monitor, rows)] == ["a"]


def test_gaps_of_bars_do_not_upset_it() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    rng = np.random.default_rng(38)
    t = START_MS
    for row in market(3_000, 39):
        t += BAR_MS * int(rng.choice([1, 1, 1, 1, 7, 500]))
        monitor.update(t, row)
    assert all(np.isfinite(score) for score in monitor.scores().values())


def test_time_must_move_on_and_the_row_must_fit() -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    monitor.update(START_MS, market(1, 40)[0])
    with pytest.raises(BadObservation, match="later than"):
        monitor.update(START_MS, market(1, 40)[0])
    with pytest.raises(BadObservation, match="6 numbers"):
        monitor.update(START_MS + BAR_MS, [1.0])


def test_the_constructor_and_a_stored_calibration_give_the_same_monitor() -> None:
    rows = market(20 * 288, 3)
    text = calibrate(rows, NAMES, 288, 2.0, 7).to_json()
    assert len(text) < 200_000
    fresh = DriftMonitor(rows, NAMES, 288, false_alarms_per_month=2.0, seed=7)
    stored = DriftMonitor.from_calibration(Calibration.from_json(text))
    live = market(5 * 288, 41)
    live[600:, 2] *= 5
    half = watch(fresh, live)
    assert half == watch(stored, live)
    assert half
    assert pickle.loads(pickle.dumps(fresh)).scores() == stored.scores()


def test_fewer_false_alarms_allowed_means_higher_thresholds() -> None:
    rows = market(20 * 288, 3)
    rare, often = (calibrate(rows, NAMES, 288, rate).thresholds for rate in (0.1, 5.0))
    assert (rare >= often).all()  # a few stand at the least evidence that an alarm may have
    assert (rare > often).mean() > 0.5


@pytest.mark.parametrize("bars_per_day", [1, 2, 24, 288])
def test_every_interval_of_the_venue_can_be_watched(bars_per_day: int) -> None:
    bar_ms = DAY_MS // bars_per_day
    rows = market(max(700, 15 * bars_per_day), 4)
    monitor = DriftMonitor(rows, NAMES, bars_per_day)
    live = market(400, 42)
    live[:, 0] += 4.0
    found = [
        a.name for i, row in enumerate(live) for a in monitor.update(START_MS + bar_ms * i, row)
    ]
    assert found[0] == "a"


@pytest.mark.parametrize(
    ("rows", "bars_per_day", "says"),
    [
        (np.zeros((10, 6)), 288, "has 10 usable rows, drift needs 2880"),
        (np.zeros((5_000, 3)), 288, r"shape \(5000, 3\)"),
        (np.zeros((5_000, 6)), 0, "bars_per_day is 0"),
    ],
)
def test_a_reference_that_cannot_be_used_is_refused(
    rows: np.ndarray, bars_per_day: int, says: str
) -> None:
    with pytest.raises(BadReference, match=says):
        calibrate(rows, NAMES, bars_per_day)


def test_times_of_the_reference_must_ascend() -> None:
    rows = market(12 * 288, 5)
    with pytest.raises(BadReference, match="ascending"):
        calibrate(rows, NAMES, 288, reference_t=np.zeros(len(rows), dtype=np.int64))


def test_a_text_that_is_no_calibration_is_refused() -> None:
    endless = learnt().to_json().replace('"bars_per_day":288', '"bars_per_day":Infinity')
    assert "Infinity" in endless
    for text in ("", "[]", "{}", '{"reference": 3}', "[" * 10_000, endless):
        with pytest.raises(BadReference, match="no drift calibration"):
            Calibration.from_json(text)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=6, max_size=6),
        min_size=1,
        max_size=60,
    )
)
def test_no_row_whatever_its_numbers_poisons_a_detector(rows: list[list[float]]) -> None:
    monitor = DriftMonitor.from_calibration(learnt())
    for i, row in enumerate(rows):
        monitor.update(START_MS + BAR_MS * i, row)
    assert all(np.isfinite(score) for score in monitor.scores().values())

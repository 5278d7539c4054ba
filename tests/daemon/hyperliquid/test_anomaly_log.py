from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import CALM_MS, KINDS, AnomalyLog, Kind
from hyperdrift.slot_name import HOUR_MS, SlotName
from tests.captured import capture_logs
from tests.fakes import FakeClock

SLOTS = tuple(SlotName(f"C{k}", "5m") for k in range(200))


def told(gaps_ms: list[int], speed: float = 1.0) -> list[int]:
    """Note one of a kind after each of these gaps of venue time; return the counts told."""
    clock = FakeClock()
    oddities = AnomalyLog(VenueClock(clock, speed))
    with capture_logs() as logs:
        for gap_ms in gaps_ms:
            clock.ms += round(gap_ms / speed)
            oddities.note("duplicate", SLOTS[0])
    assert {(line["event"], line["log_level"]) for line in logs} <= {("feed.oddity", "info")}
    return [line["times"] for line in logs]


def test_a_kind_is_told_when_it_begins_after_a_calm_of_ten_minutes() -> None:
    assert told([0, 1000, CALM_MS - 1]) == [1]
    assert told([0, 1000, CALM_MS]) == [1, 1]


def test_while_it_lasts_it_is_told_every_hour_with_the_count() -> None:
    minutes = [60_000] * 150
    assert told(minutes) == [1, 61, 121]


def test_calms_and_hours_are_those_of_the_venue() -> None:
    assert told([0, CALM_MS], speed=300) == [1, 1]
    assert told([0, CALM_MS - 300], speed=300) == [1]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    assert told([0, -2 * HOUR_MS, HOUR_MS, 1000]) == [1, 1, 1]


def test_every_kind_says_what_happens_and_is_counted_by_slot_and_together() -> None:
    oddities = AnomalyLog(VenueClock(FakeClock()))
    with capture_logs() as logs:
        for kind in KINDS:
            oddities.note(kind, SLOTS[0])
        oddities.note("connection_dropped")
        oddities.note("duplicate", SLOTS[1])
    assert [line["kind"] for line in logs] == list(KINDS)
    assert all(line["slot"] == "C0-5m" and len(line["why"]) > 20 for line in logs)
    once = dict.fromkeys(KINDS, 1)
    assert oddities.of_slot(SLOTS[0]) == once
    assert oddities.of_slot(SLOTS[1]) == {"duplicate": 1}
    assert oddities.of_all() == once | {"connection_dropped": 2, "duplicate": 2}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20 * 60_000),
            st.sampled_from(get_args(Kind)),
            st.sampled_from(SLOTS),
            st.integers(1, 50),
        ),
        max_size=200,
    )
)
def test_a_storm_of_any_shape_is_six_lines_an_hour_and_kind_at_most(storm: Any) -> None:
    clock = FakeClock()
    oddities, begin = AnomalyLog(VenueClock(clock)), clock.ms
    with capture_logs() as logs:
        for gap_ms, kind, slot, times in storm:
            clock.ms += gap_ms
            for _ in range(times):
                oddities.note(kind, slot)
    hours = (clock.ms - begin) / HOUR_MS
    for kind in KINDS:
        assert len([line for line in logs if line["kind"] == kind]) <= 6 * hours + 1
    assert sum(oddities.of_all().values()) == sum(times for *_, times in storm)
    assert {kind for _, kind, _, _ in storm} == {line["kind"] for line in logs}

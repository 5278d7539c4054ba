"""A change of the market is told once, with its slots; the drift of one slot is its own affair."""

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.notify.matters import Matter, read
from daemon.runtime.announcements import Announcement, Announcements, announced
from daemon.service.market_drift import (
    FEWEST,
    LONGEST_MS,
    QUIET_MS,
    WINDOW_MS,
    DriftGathering,
    MarketDrift,
)
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import MINUTE_MS

NOON = 1_750_075_200_000
BAR_MS = 5 * MINUTE_MS


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []

    def publish(self, topic: str, payload: Any) -> None:
        self.published.append((topic, payload))


class Market:
    """Slots that drift, and what is told of all of them together."""

    def __init__(self) -> None:
        self.now_ms, self.bus, self.announcements = NOON, Bus(), Announcements()
        self.told: list[Announcement] = []
        bus = cast("MqttConnection", self.bus)
        self.watch = MarketDrift(self.announcements, bus, Topics("p"), lambda: self.now_ms)
        self.announcements.listen(self.told.append)

    def drifts(self, *slots: str, feature: str = "rv_1h") -> None:
        for slot in slots:
            drift = {"kind": "drift", "at_ms": self.now_ms, "text": "it went up", "name": feature}
            self.announcements.tell(announced(slot, drift))

    def passes(self, minutes: int) -> list[Announcement]:
        """Return what is told of the market meanwhile."""
        before = len(self.told)
        for _ in range(minutes):
            self.now_ms += MINUTE_MS
            self.watch.look()
        return [one for one in self.told[before:] if one.kind == "market_drift"]


def named(count: int) -> list[str]:
    return [f"C{number}-5m" for number in range(count)]


def test_sixty_slots_that_drift_within_half_an_hour_are_one_message_that_names_them() -> None:
    market = Market()
    for start in range(0, 60, 20):
        market.drifts(*named(60)[start : start + 20])
        market.drifts(*named(60)[start : start + 2], feature="gk_volatility")
        assert market.passes(5) == []
    (told,) = market.passes(3 * 60)
    assert told.slot == ""
    assert told.fields["slots"] == named(60)
    assert told.fields["features"] == {"rv_1h": 60, "gk_volatility": 6}
    assert told.text.startswith(
        "the market changed: 60 slots drifted within 10 min, most in rv_1h (60), gk_volatility (6):"
        " C0-5m, C1-5m,"
    )
    assert told.text.endswith("C29-5m and 30 more; where a retrain would help, it takes its turn")
    assert [topic for topic, _ in market.bus.published] == ["p/C0-5m/event"]
    assert isinstance(found := read(told), Matter)
    assert (found.topic, found.critical) == ("market", False)


def test_fewer_slots_or_slots_hours_apart_are_no_change_of_the_market() -> None:
    market = Market()
    market.drifts(*named(FEWEST - 1))
    assert market.passes(180) == []
    for slot in named(3 * FEWEST):
        market.drifts(slot)
        assert market.passes(WINDOW_MS // MINUTE_MS // (FEWEST - 2)) == []
    market.drifts("BTC-5m", "BTC-5m", "BTC-5m")
    assert market.passes(180) == []


def test_the_slots_that_follow_are_of_the_same_change_and_twice_as_many_are_told_again() -> None:
    market = Market()
    market.drifts(*named(6))
    assert len(market.passes(20)) == 1
    market.drifts(*named(11))
    assert market.passes(30) == []
    market.drifts("C11-5m")
    (again,) = market.passes(30)
    assert len(again.fields["slots"]) == 12
    market.passes(120)
    market.drifts(*named(FEWEST))
    (another,) = market.passes(30)
    assert len(another.fields["slots"]) == FEWEST


def test_it_does_not_wait_for_a_quiet_moment_that_never_comes() -> None:
    market, told = Market(), list[Announcement]()
    for slot in named(40):
        market.drifts(slot)
        told += market.passes(4)
    assert told
    assert told[0].at_ms - NOON <= LONGEST_MS + FEWEST * BAR_MS


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=80))
def test_what_is_told_is_always_of_enough_slots_and_never_twice(
    alarms: list[tuple[int, int]],
) -> None:
    gathering, now_ms = DriftGathering(), NOON
    for minutes, slot in alarms:
        change = gathering.due(now_ms)
        if change is not None:
            assert len(set(change.slots)) == len(change.slots) >= FEWEST
            assert now_ms >= change.until_ms
            assert sum(change.features.values()) >= len(change.slots)
            assert gathering.due(now_ms + QUIET_MS) is None, "told twice"
        now_ms += minutes * MINUTE_MS
        gathering.note(f"C{slot}-5m", now_ms, "rv_1h")

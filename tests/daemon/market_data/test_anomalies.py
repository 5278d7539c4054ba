import json

import pytest

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid import wire
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.hyperliquid.frames import Candles
from daemon.market_data.anomalies import StreamAnomalies
from daemon.market_data.stream_cache import Coverage, StreamCache
from tests.daemon.fake_venue import BTC, START, STEP, bar
from tests.daemon.hyperliquid.test_wire import FIXTURES, recorded
from tests.fakes import FakeClock

REST, FILLED, STREAM = Provenance.REST, Provenance.FILLED, Provenance.STREAM


class Rig:
    """One slot's habits, with a socket that was whole before the first bar."""

    def __init__(self, speed: float = 1.0) -> None:
        self.clock = FakeClock(ms=START - 1000)
        self.venue = VenueClock(self.clock, speed)
        self.shown, self.coverage = StreamCache(), Coverage()
        self.oddities = AnomalyLog(self.venue)
        self.habits = StreamAnomalies(BTC, self.oddities, self.shown, self.coverage, self.venue)
        self.coverage.connected(self.clock.ms)

    def push(self, b: Bar, after_close_ms: int = -1000) -> None:
        """Push a frame, by default in time."""
        self.clock.ms = max(self.clock.ms, b.t + STEP + after_close_ms)
        self.coverage.heard(self.venue.now_ms())
        self.habits.pushed(b)
        self.shown.take(b, self.coverage.socket)

    def reconnect(self) -> None:
        self.coverage.disconnected()
        self.coverage.connected(self.clock.ms)

    @property
    def found(self) -> dict[str, int]:
        return self.oddities.of_slot(BTC)


def test_the_same_numbers_again_are_a_duplicate_only_on_the_same_socket() -> None:
    r = Rig()
    r.push(bar(0, n=3))
    r.reconnect()
    r.push(bar(0, n=3))  # a new socket begins with the forming bar
    assert r.found == {}
    r.push(bar(0, n=3))
    assert r.found == {"duplicate": 1}
    r.push(bar(0, n=4))
    assert r.found == {"duplicate": 1}


def test_an_older_bar_or_fewer_trades_are_out_of_order_only_on_the_same_socket() -> None:
    r = Rig()
    for frame in (bar(0, n=3), bar(0, n=5), bar(0, n=4), bar(1, n=1), bar(0, n=6)):
        r.push(frame, after_close_ms=-STEP + 100)
    assert r.found == {"out_of_order": 2}
    r.reconnect()
    r.push(bar(0, n=2), after_close_ms=1000)
    assert r.found == {"out_of_order": 2}


@pytest.mark.parametrize(("speed", "limit_ms"), [(1.0, 6_000), (15.0, 6_000), (300.0, 30_000)])
def test_a_frame_is_late_after_twice_the_grace_and_what_a_fast_replay_costs(
    speed: float, limit_ms: int
) -> None:
    for late_ms, found in ((limit_ms - 1000, {}), (limit_ms + 1000, {"late_frame": 1})):
        r = Rig(speed)
        b = bar(0)
        r.clock.ms += round((b.t + STEP + late_ms - r.venue.now_ms()) / speed)
        r.habits.pushed(b)
        assert r.found == found


def test_a_last_state_is_missing_once_the_next_bar_is_confirmed_and_it_never_came() -> None:
    r = Rig()
    r.push(bar(0, n=3))
    r.push(bar(1, n=1), after_close_ms=-STEP + 10_000)
    r.habits.confirmed([bar(0, n=4)])
    assert r.found == {}  # it may still come
    r.push(bar(2, n=1), after_close_ms=-STEP + 10_000)
    r.habits.confirmed([bar(0, n=4), bar(1, n=1)])
    assert r.found == {"last_state_missing": 1}
    r.habits.confirmed([bar(0, n=4), bar(1, n=1), bar(2, n=1)])  # asked for again: told once
    assert r.found == {"last_state_missing": 1}


def test_a_bar_with_trades_that_was_not_pushed_at_all_is_missing_too() -> None:
    r = Rig()
    r.push(bar(0))
    r.push(bar(2), after_close_ms=-STEP + 10_000)
    r.habits.confirmed([bar(0), bar(1, n=7), bar(2)])
    assert r.found == {"last_state_missing": 1}


def test_without_a_whole_socket_or_a_memory_of_the_bar_nothing_is_missing() -> None:
    r = Rig()
    r.push(bar(0, n=3))
    r.clock.ms += 2000  # within bar 1
    r.reconnect()
    r.push(bar(2), after_close_ms=-STEP + 10_000)
    r.habits.confirmed([bar(0, n=9), bar(1, n=9), bar(2)])
    assert r.found == {}
    r = Rig()
    for number in range(10):  # REST was away meanwhile; the newest bars only are remembered
        r.push(bar(number, n=3))
    r.habits.confirmed([bar(number, n=3) for number in range(10)])
    assert r.found == {}


def test_a_bar_that_rest_itself_adds_trades_to_was_a_stale_answer() -> None:
    r = Rig()
    r.habits.confirmed([bar(0, n=3)])
    r.habits.confirmed([bar(0, n=3), bar(1, n=3)])
    assert r.found == {}
    r.habits.confirmed([bar(1, n=5), bar(2)])
    assert r.found == {"stale_answer": 1}


def test_a_bar_taken_for_a_quiet_one_was_a_stale_answer_if_it_had_trades() -> None:
    for traded, found in ((0.0, {}), (2.0, {"stale_answer": 1})):
        r = Rig()
        r.habits.handed_on(bar(0, volume=0.0), FILLED, led=False)
        r.coverage.disconnected()
        r.habits.confirmed([bar(0, volume=traded), bar(1)])
        r.habits.confirmed([bar(1), bar(2)])
        assert r.found == {"nobody_trades": 1} | found


def test_a_bar_that_only_the_stream_has_when_it_is_overdue_is_a_stale_answer() -> None:
    r = Rig()
    r.habits.handed_on(bar(0), STREAM, led=True)  # in a rush REST was not asked yet
    r.habits.handed_on(bar(1), REST, led=False)
    assert r.found == {}
    r.habits.handed_on(bar(2), STREAM, led=False)
    assert r.found == {"stale_answer": 1}


TAPES: dict[str, dict[str, int]] = {
    "candle_ETH_1m_excerpt_late_final_update": {},
    "candle_AAVE_1m_2025-03-20_bar_rollover": {},
    "candle_ETH_1m_excerpt_reordered_frames": {"out_of_order": 4},
}


@recorded
@pytest.mark.parametrize("name", TAPES)
def test_what_the_real_venue_pushed_is_odd_only_where_its_frames_are_out_of_order(
    name: str,
) -> None:
    tape = json.loads((FIXTURES / "ws" / f"{name}.json").read_text())["rows"]
    frames = []
    for row in tape:
        candles = wire.decode_frame(json.dumps(row["frame"]).encode())
        assert isinstance(candles, Candles)
        frames += [(row["recv_ns"] // 1_000_000, frame) for frame in candles.frames]
    clock, slot = FakeClock(), frames[0][1].slot
    venue, shown, coverage = VenueClock(clock), StreamCache(), Coverage()
    oddities = AnomalyLog(venue)
    habits = StreamAnomalies(slot, oddities, shown, coverage, venue)
    coverage.connected(frames[0][0] - 1)
    closed: dict[int, Bar] = {}
    for clock.ms, frame in frames:
        coverage.heard(venue.now_ms())
        habits.pushed(frame.bar)
        if over := shown.take(frame.bar, coverage.socket):
            closed[over.t] = over  # what REST has, too: the tapes have it from the stream
            habits.confirmed(list(closed.values())[-2:])
    assert oddities.of_slot(slot) == TAPES[name]
    assert closed

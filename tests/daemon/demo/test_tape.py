import json
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.demo.recording import Recording
from daemon.demo.tape import Series, Tape
from tests.daemon.demo.markets import MINUTES_5, START_MS, as_recorded, flat, market

BARS = 300
END_MS = START_MS + BARS * MINUTES_5


@cache
def recorded() -> Recording:
    return market(BARS, quiet=(30, 31, 150, 298, 299))


@cache
def series(interval: str = "5m") -> Series:
    return Series(Tape(recorded()), interval)


def rows(now_ms: int, interval: str = "5m") -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(series(interval).snapshot(0, now_ms, now_ms))
    return answer


def told(interval: str = "5m", of: Series | None = None) -> list[dict[str, Any]]:
    """Every state of the recording, each pushed on its own."""
    one = of or series(interval)
    last = one.position(END_MS + 10_000)
    frames = [frame for p in range(last) for frame in one.frames(p, p + 1)]
    return [json.loads(frame)["data"] for frame in frames]


def without(now_ms: int) -> Recording:
    """The recording up to the bar that holds `now_ms`, that bar's later trades included."""
    return recorded().between(0, now_ms + 1)


@given(st.integers(START_MS - 1000, END_MS + 10_000))
@settings(max_examples=150, deadline=None)
def test_what_a_client_sees_does_not_depend_on_any_later_bar(now_ms: int) -> None:
    if now_ms < START_MS:
        assert rows(now_ms) == []
        return
    cut = Series(Tape(without(now_ms)), "5m")
    assert json.loads(cut.snapshot(0, now_ms, now_ms)) == rows(now_ms)


@given(st.integers(START_MS, END_MS), st.sampled_from(["5m", "15m", "1h", "1d"]))
@settings(max_examples=150, deadline=None)
def test_a_bar_only_grows_and_ends_as_recorded(now_ms: int, interval: str) -> None:
    early = rows(now_ms, interval)
    late = {row["t"]: row for row in rows(END_MS + 10_000, interval)}
    for row in early[-3:]:
        full = late[row["t"]]
        assert row["t"] <= now_ms
        assert row["o"] == full["o"]
        assert float(row["l"]) >= float(full["l"])
        assert float(row["h"]) <= float(full["h"])
        assert float(row["v"]) <= float(full["v"])
        assert float(row["l"]) <= float(row["c"]) <= float(row["h"])
        assert row["n"] <= full["n"]
    assert all(row == late[row["t"]] for row in early[:-1])


def test_finished_bars_equal_the_recording_value_for_value() -> None:
    shown = rows(END_MS + 10_000)
    assert shown == [as_recorded(recorded(), bar) for bar in range(298)]


@pytest.mark.parametrize("interval", ["5m", "1h"])
def test_frames_are_cumulative_and_the_last_one_is_the_bar_unless_withheld(interval: str) -> None:
    frames = told(interval)
    for before, after in pairwise(frames):
        assert before["t"] <= after["t"]
        if before["t"] == after["t"]:
            assert before["n"] < after["n"]
            assert float(before["v"]) < float(after["v"])
            assert before["o"] == after["o"]
            assert float(before["h"]) <= float(after["h"])
            assert float(before["l"]) >= float(after["l"])
    finished = {row["t"]: row for row in rows(END_MS + 10_000, interval)}
    last = {frame["t"]: frame for frame in frames}
    short = [t for t, frame in last.items() if frame != finished[t]]
    assert last.keys() == finished.keys() - quiet_times()
    assert len(short) <= 2 + 0.04 * len(last)


def test_an_extreme_is_shown_only_once_the_price_has_been_there() -> None:
    seen: dict[int, list[float]] = {}
    for frame in told():
        prices = seen.setdefault(frame["t"], [float(frame["o"])])
        prices.append(float(frame["c"]))
        assert float(frame["h"]) == max(prices)
        assert float(frame["l"]) == min(prices)


def test_some_bars_never_get_their_last_frame_though_rest_has_them() -> None:
    long = Series(Tape(market(2000)), "5m")
    end = long.position(2**60)
    last = {}
    for p in range(end):
        for frame in long.frames(p, p + 1):
            row = json.loads(frame)["data"]
            last[row["t"]] = row
    full = json.loads(long.snapshot(0, 2**60, 2**60))
    short = [row for row in full if last[row["t"]] != row]
    assert 10 <= len(short) <= 80
    assert all(last[row["t"]]["n"] < row["n"] for row in short)


def quiet_times() -> set[int]:
    return {START_MS + bar * MINUTES_5 for bar in (30, 31, 150)}


def test_a_bar_without_trades_has_no_frame_and_shows_up_once_something_trades_again() -> None:
    assert not {frame["t"] for frame in told()} & quiet_times()
    tail = START_MS + 32 * MINUTES_5 - 1
    assert rows(tail)[-1]["t"] == START_MS + 29 * MINUTES_5
    refilled = rows(tail + MINUTES_5)
    assert [row["n"] for row in refilled[30:32]] == [0, 0]
    assert refilled[30]["o"] == refilled[30]["c"] == refilled[29]["c"]


def test_late_states_come_after_the_close_but_before_the_next_bar() -> None:
    tape = Tape(market(2000))
    closes = tape.recording.t[tape.bars] + MINUTES_5
    after_ms = (tape.times - closes)[tape.times >= closes]
    assert 0.10 < len(after_ms) / 2000 < 0.18
    assert after_ms.min() >= 300
    assert after_ms.max() <= 2_560
    assert (tape.times[1:] > tape.times[:-1]).all()


def test_between_two_looks_only_the_newest_state_of_each_bar_is_pushed() -> None:
    one = series()
    frames = [json.loads(frame)["data"] for frame in one.frames(0, one.position(END_MS))]
    times = [frame["t"] for frame in frames]
    assert times == sorted(set(times))
    assert frames[0] == as_recorded(recorded(), 0)


def test_the_newest_five_thousand_bars_are_served_and_older_windows_are_empty() -> None:
    long = Series(Tape(market(5100)), "5m")
    now_ms = START_MS + 5100 * MINUTES_5 + 10_000
    newest = json.loads(long.snapshot(0, now_ms, now_ms))
    assert len(newest) == 5000
    assert newest[-1]["t"] == START_MS + 5099 * MINUTES_5
    assert long.snapshot(START_MS, START_MS + 20 * MINUTES_5, now_ms) == b"[]"


def test_a_window_holds_the_bars_that_contain_its_ends() -> None:
    first, last = START_MS + 10 * MINUTES_5 + 77, START_MS + 20 * MINUTES_5 + 1
    shown = json.loads(series().snapshot(first, last, END_MS))
    assert shown[0]["t"] == START_MS + 10 * MINUTES_5
    assert shown[-1]["t"] == START_MS + 20 * MINUTES_5
    assert series().snapshot(last, first, END_MS) == b"[]"


def test_one_trade_makes_one_frame() -> None:
    frames = told(of=Series(Tape(flat(40)), "5m"))
    assert all(frame["n"] == 1 for frame in frames)
    assert len({frame["t"] for frame in frames}) == len(frames)


def test_the_forming_bar_is_shown_only_after_its_first_trade() -> None:
    opened = START_MS + 40 * MINUTES_5
    assert series().greeting(opened) is None
    frame = series().greeting(opened + 60_000)
    assert frame is not None
    assert json.loads(frame)["data"]["t"] == opened
    assert series().greeting(START_MS + 30 * MINUTES_5 + 60_000) is None

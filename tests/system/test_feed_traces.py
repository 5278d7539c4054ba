"""Faults of the venue that harm nothing leave a line all the same, and a clean run leaves none."""

from collections.abc import Sequence
from typing import Any

import pytest

from daemon.demo.faults import (
    Disconnect,
    DroppedKeepalive,
    Duplicate,
    Expired,
    Fault,
    HttpError,
    Late,
    NoTrades,
    Reorder,
    Slow,
    StaleRest,
    Stall,
    Withhold,
)
from tests.system.faulty_feed import NOW_MS, SLOTS, STEP, Run, play

SPAN: Any = {"at_ms": 2 * STEP, "for_ms": 3 * STEP}
BARS = 12


async def watch(run: Run) -> tuple[list[Any], dict[str, int], list[dict[str, int]]]:
    """Return the lines, and what was counted of all slots and of each."""
    await run.until(NOW_MS + BARS * STEP)
    for slot in SLOTS:
        assert run.outcome(slot).differences() + run.outcome(slot).disorder() == []
    of_slots = [run.feed.state(slot).oddities for slot in SLOTS]
    return run.logs, run.feed.venue_state().oddities, of_slots


def lines(logs: Sequence[Any], event: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == event]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Duplicate(coin="BTC", **SPAN), "duplicate"),
        (Reorder(coin="BTC", **SPAN), "out_of_order"),
        (Late(coin="BTC", delay_ms=60_000, **SPAN), "late_frame"),
        (Withhold(coin="BTC", **SPAN), "last_state_missing"),
        (NoTrades(coin="BTC", **SPAN), "nobody_trades"),
        (StaleRest(coin="BTC", delay_ms=60_000, **SPAN), "stale_answer"),
        (StaleRest(coin="BTC", delay_ms=STEP, **SPAN), "stale_answer"),
        (StaleRest(coin="BTC", delay_ms=2 * STEP, **SPAN), "stale_answer"),
    ],
)
def test_a_harmless_habit_is_one_line_with_its_slot_and_is_counted(fault: Fault, kind: str) -> None:
    logs, counts, (btc, eth) = play(watch, [fault])
    (line,) = lines(logs, "feed.oddity")
    assert (line["kind"], line["slot"], line["times"]) == (kind, "BTC-5m", 1)
    assert line["log_level"] == "info"
    assert counts == btc
    assert list(btc) == [kind]
    assert btc[kind] >= 2
    assert eth == {}
    assert lines(logs, "feed.bar_late") == []


def test_a_dropped_connection_is_one_line_without_a_slot() -> None:
    logs, counts, of_slots = play(watch, [DroppedKeepalive(**SPAN)])
    (line,) = lines(logs, "feed.oddity")
    assert line["kind"] == "connection_dropped"
    assert "slot" not in line
    assert counts["connection_dropped"] > 2
    assert of_slots == [{}, {}]


def test_answers_that_are_errors_are_one_line_and_counted() -> None:
    logs, counts, of_slots = play(watch, [HttpError(status=502, **SPAN)])
    (line,) = lines(logs, "feed.oddity")
    assert line["kind"] == "error_answer"
    assert counts["error_answer"] > 2
    assert of_slots == [{}, {}]


@pytest.mark.parametrize(
    "faults",
    [[], [Disconnect(**SPAN)], [Expired(at_ms=2 * STEP)], [Stall(at_ms=2 * STEP, for_ms=5 * STEP)]],
)
def test_neither_a_clean_run_nor_a_new_socket_is_odd_or_late(faults: list[Fault]) -> None:
    logs, counts, of_slots = play(watch, faults)
    assert counts == {}
    assert of_slots == [{}, {}]
    for event in ("feed.oddity", "feed.bar_late", "feed.bars_on_time"):
        assert lines(logs, event) == []


def test_a_renewed_socket_is_a_line_and_no_loss() -> None:
    logs, _, _ = play(watch, [Expired(at_ms=2 * STEP)])
    (line,) = lines(logs, "feed.stream_renewed")
    assert line["log_level"] == "info"
    assert "Expired" in line["why"]
    assert lines(logs, "feed.stream_lost") == []


@pytest.mark.parametrize("fault", [Slow(delay_ms=70_000, **SPAN), HttpError(status=500, **SPAN)])
def test_late_bars_are_two_lines_a_slot_whether_answers_are_slow_or_fail(fault: Fault) -> None:
    logs, _, _ = play(watch, [fault])
    late, on_time = lines(logs, "feed.bar_late"), lines(logs, "feed.bars_on_time")
    assert sorted(line["slot"] for line in late) == ["BTC-5m", "ETH-5m"]
    assert all(line["delay_s"] > 60 and line["log_level"] == "warning" for line in late)
    assert sorted(line["slot"] for line in on_time) == ["BTC-5m", "ETH-5m"]
    assert all(line["log_level"] == "info" for line in on_time)

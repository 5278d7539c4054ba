"""Impossible bars and clocks, from the exchange to the store: refused, told once, counted."""

from typing import Any

import pytest

from daemon.demo.faults import BadBar, ClockJump
from tests.system.faulty_feed import NOW_MS, SLOTS, STEP, Run, play

BTC, ETH = SLOTS
BAD_BARS = 3
REFUSALS = {"stream.bar_refused", "rest.bar_refused", "feed.future_bar", "feed.price_doubted"}


async def watch(run: Run) -> dict[str, Any]:
    """Wait until all is well again; tell what was stored, said and counted."""
    await run.until(NOW_MS + 9 * STEP)
    return {
        "wrong": [run.outcome(slot).differences() + run.outcome(slot).disorder() for slot in SLOTS],
        "refused": [run.feed.state(slot).refused for slot in SLOTS],
        "filled": [run.feed.state(slot).filled for slot in SLOTS],
        "lines": [entry for entry in run.logs if entry["event"] in REFUSALS],
        "warnings": [entry for entry in run.logs if entry["log_level"] in {"warning", "error"}],
        "jumps": run.feed.venue_state().clock_jumps,
    }


@pytest.mark.parametrize(
    ("numbers", "where"),
    [
        (numbers, where)
        for numbers in (
            "nan",
            "infinite",
            "negative",
            "zero",
            "crossed",
            "future",
            "absurd",
            "vast",
            "huge",
        )
        for where in ("stream", "rest")
        # What REST insists on is believed in the end: prices may fall to a hundredth.
        if (numbers, where) != ("absurd", "rest")
    ],
)
def test_bad_numbers_are_refused_told_and_counted_and_disturb_nothing_else(
    numbers: Any, where: Any
) -> None:
    bad = BadBar(coin="BTC", numbers=numbers, where=where, at_ms=2 * STEP, for_ms=BAD_BARS * STEP)
    seen = play(watch, [bad])
    assert seen["wrong"] == [[], []]
    assert seen["refused"][0] >= 1
    assert seen["refused"][1] == 0
    assert seen["filled"] == [0, 0]
    assert 1 <= len(seen["lines"]) <= BAD_BARS + 1  # one line a bar, however often it was sent
    assert seen["warnings"] == seen["lines"]
    assert not [entry for entry in seen["lines"] if "ETH" in str(entry)]


@pytest.mark.parametrize(
    ("jump_ms", "jumps"),
    # A replay may be halted, so a step back is believed, and so is the way there again. A step
    # ahead is not: the time was carried on, and nothing jumps when the venue is right again.
    [(-3_600_000, 2), (-200_000, 2), (200_000, 1)],
)
def test_a_jump_of_the_venues_clock_is_told_and_counted_and_costs_no_bar(
    jump_ms: int, jumps: int
) -> None:
    seen = play(watch, [ClockJump(jump_ms=jump_ms, at_ms=2 * STEP, for_ms=BAD_BARS * STEP)])
    assert seen["wrong"] == [[], []]
    assert seen["jumps"] == jumps
    assert [e["event"] for e in seen["warnings"]].count("venue.clock_jumped") == jumps

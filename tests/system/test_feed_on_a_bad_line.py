"""A line to the venue that is slow, torn or deaf: no bar is lost or made up on the way."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.link import WORSE, Link, good, slow
from tests.system.faulty_feed import NOW_MS, SLOTS, STEP, Run, play


@pytest.mark.parametrize("worse", WORSE)
def test_a_bad_line_to_the_venue_costs_no_bar_and_disorders_none(
    worse: Callable[[Link], None],
) -> None:
    async def act(run: Run) -> dict[str, Any]:
        for bar in (2, 7):  # twice: what the first time taught must not harm the second
            await run.until(NOW_MS + bar * STEP)
            worse(run.link)
            await run.until(NOW_MS + (bar + 3) * STEP)
            good(run.link)
        await run.until_healed()
        await run.until(NOW_MS + 13 * STEP)
        return {
            "wrong": [text for slot in SLOTS for text in run.wrong(slot)],
            "connections": run.link.connections,
            "lines": [entry["event"] for entry in run.logs if entry["log_level"] == "warning"],
        }

    seen = play(act, [])
    assert seen["wrong"] == []
    if worse is not slow:
        assert seen["connections"] > 3
        assert "feed.stream_lost" in seen["lines"]

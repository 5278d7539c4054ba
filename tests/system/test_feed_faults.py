"""Whatever goes wrong on the venue's side: afterwards the store holds what REST says."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from daemon.demo.faults import (
    BadBar,
    ClockJump,
    Disconnect,
    DroppedKeepalive,
    Duplicate,
    Expired,
    Fault,
    HttpError,
    Late,
    Malformed,
    NoTrades,
    Reorder,
    Slow,
    StaleRest,
    Stall,
    Withhold,
)
from tests.system.faulty_feed import NOW_MS, SLOTS, STEP, Run, play

_TROUBLE_MS = (STEP, 10 * STEP)
_LONGEST_BARS = 5

_places = st.sampled_from(["stream", "rest", "both"])
_delays = st.integers(1000, STEP)
_coins = st.sampled_from(["", "BTC"])


def lasting(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    begin = st.integers(*_TROUBLE_MS)
    return st.builds(kind, at_ms=begin, for_ms=st.integers(1000, _LONGEST_BARS * STEP), **fields)


FAULTS: st.SearchStrategy[Fault] = st.one_of(
    lasting(Disconnect),
    st.builds(Expired, at_ms=st.integers(*_TROUBLE_MS)),
    lasting(Stall),
    lasting(Withhold, coin=_coins),
    lasting(Late, coin=_coins, delay_ms=_delays),
    lasting(Reorder, coin=_coins),
    lasting(Duplicate, coin=_coins),
    lasting(NoTrades, coin=_coins),
    lasting(
        Malformed,
        coin=_coins,
        where=_places,
        how=st.sampled_from(["truncated", "text", "shape", "bytes", "surrogates", "deep"]),
    ),
    lasting(
        BadBar,
        coin=_coins,
        where=_places,
        numbers=st.sampled_from(
            ["nan", "infinite", "negative", "zero", "crossed", "future", "vast", "huge"]
        ),
    ),
    lasting(HttpError, status=st.sampled_from([429, 500, 502])),
    lasting(Slow, delay_ms=_delays),
    lasting(StaleRest, coin=_coins, delay_ms=_delays),
    lasting(DroppedKeepalive),
    lasting(BadBar, coin=_coins, where=st.just("stream"), numbers=st.just("absurd")),
    # A clock that stays ahead by more than a bar is believed in the end, and takes longer to heal.
    lasting(ClockJump, jump_ms=st.integers(-12 * STEP, STEP - 60_000)),
)


async def two_bars_after_the_faults(run: Run) -> None:
    healed_ms = await run.until_healed()
    await run.until(healed_ms + 2 * STEP)
    for slot in SLOTS:
        outcome = run.outcome(slot)
        wrong = outcome.differences() + outcome.disorder()
        assert not wrong, wrong


@given(st.lists(FAULTS, min_size=1, max_size=5))
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a smaller example is not worth minutes of search
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_two_bars_after_any_faults_the_store_is_what_rest_says(faults: list[Fault]) -> None:
    play(two_bars_after_the_faults, faults)


def test_while_the_venue_is_away_the_comparison_shows_what_is_lacking() -> None:
    async def act(run: Run) -> list[list[str]]:
        lacking = []
        for bars in (1.5, 5.0, 9.0):
            await run.until(NOW_MS + bars * STEP)
            lacking.append(run.outcome(SLOTS[0]).differences())
        return lacking

    # Each bar by itself: while REST is away the stream's copies are all there is.
    before, during, after = play(act, [HttpError(at_ms=2 * STEP, for_ms=4 * STEP)])
    assert (before, after) == ([], [])
    assert [text.partition(":")[0] for text in during] == ["BTC-5m 1", "BTC-5m 2", "BTC-5m 3"]


def test_an_answer_cut_short_at_the_start_does_not_cost_the_history() -> None:
    play(two_bars_after_the_faults, [Malformed(at_ms=0, for_ms=STEP // 2, where="rest")])


@pytest.mark.parametrize(
    "fault",
    [
        StaleRest(at_ms=0, for_ms=44_741, delay_ms=8_193),
        ClockJump(at_ms=100_000, for_ms=3_000_000, jump_ms=1_000_000),
        ClockJump(at_ms=100_000, for_ms=900_000, jump_ms=-1_000_000),
        BadBar(at_ms=6 * STEP, for_ms=45_000, numbers="absurd"),
        BadBar(at_ms=6 * STEP, for_ms=900_000, numbers="absurd", where="stream"),
        Malformed(at_ms=0, for_ms=1_197_392, how="truncated"),
    ],
)
def test_what_the_feed_once_fell_for(fault: Fault) -> None:
    play(two_bars_after_the_faults, [fault])

import asyncio
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.clock import VenueClock
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rate_limit import Priority, WeightBudget
from tests.fakes import FakeClock

calls = st.lists(st.tuples(st.integers(1, 120), st.sampled_from(Priority)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(calls, st.sampled_from([1.0, 60.0]))
def test_no_minute_of_venue_time_ever_holds_more_than_the_limit(wanted, speed: float) -> None:
    clock = FakeClock()
    budget = WeightBudget(clock, VenueClock(clock, speed), 200)
    spent: list[tuple[float, int]] = []

    async def call(weight: int, priority: Priority) -> None:
        taken = await budget.take(weight, priority)
        spent.append((taken.at, weight))

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*[call(*one) for one in wanted]), 60)

    asyncio.run(run())
    assert len(spent) == len(wanted)
    for at, _ in spent:
        assert sum(weight for other, weight in spent if at - 60 < other <= at) <= 200


async def test_live_calls_overtake_a_backfill_that_waits() -> None:
    clock = FakeClock()
    budget = WeightBudget(clock, VenueClock(clock), 200)
    order: list[str] = []

    async def call(name: str, priority: Priority) -> None:
        await budget.take(100, priority)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for k in range(4):
            tasks.create_task(call(f"old-{k}", Priority.BACKFILL))
        for k in range(4):
            tasks.create_task(call(f"live-{k}", Priority.LIVE))
    assert order[:5] == ["old-0", "live-0", "live-1", "live-2", "live-3"]


async def test_backfill_leaves_a_share_for_live_calls() -> None:
    clock = FakeClock()
    budget = WeightBudget(clock, VenueClock(clock), 200)
    for _ in range(8):
        await budget.take(20, Priority.BACKFILL)
    began = clock.monotonic()
    await budget.take(40, Priority.LIVE)
    assert clock.monotonic() == began
    await budget.take(20, Priority.BACKFILL)
    assert clock.monotonic() >= began + 59


async def test_a_call_heavier_than_the_limit_goes_out_alone() -> None:
    clock = FakeClock()
    budget = WeightBudget(clock, VenueClock(clock), 50)
    await budget.take(10, Priority.LIVE)
    await asyncio.wait_for(budget.take(104, Priority.BACKFILL), 60)
    assert clock.ms - FakeClock().ms >= 60_000
    assert budget.left() == 0


async def test_a_clock_that_jumps_when_learnt_does_not_block_the_budget() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    budget = WeightBudget(clock, venue, 100)
    await budget.take(100, Priority.LIVE)
    venue.learn(venue.now_ms() - 400 * 86_400_000, clock.monotonic(), clock.monotonic())
    await budget.take(100, Priority.LIVE)
    assert 60 <= sum(clock.slept) < 62


def test_waits_double_up_to_the_longest_and_are_jittered() -> None:
    waits = delays(1.0, 30.0, Random(1))
    some = [next(waits) for _ in range(2000)]
    for k, wait in enumerate(some):
        longest = min(30.0, 2.0 ** min(k, 10))
        assert longest / 2 <= wait <= longest
    assert len(set(some)) == len(some)
    assert any(a > b for a, b in pairwise(some[10:]))

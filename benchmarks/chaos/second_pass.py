"""The second pass of `benchmarks.chaos`: repeat, one at a time, each unreported fault.

Among many faults at once, one may hide another: a dead daemon does not see that the exchange
sends wrong data. In the second pass each fault is alone, until the journal reports it or should
have reported it.
"""

import asyncio
import time
from random import Random

from benchmarks.chaos import plan
from benchmarks.chaos.faults import ChaosFaults
from benchmarks.chaos.judgement import occurrences, told_so_far
from benchmarks.chaos.plan import Planned
from benchmarks.chaos.setup import ChaosSetup
from benchmarks.chaos.traces import AFTER_S

TRIES = 3
RETRAIN_S = 120.0
_LOOK_S = 2.0
_AHEAD_S = 1.0


async def second_pass(
    setup: ChaosSetup, planned: list[Planned], seed: int, longest_s: float
) -> list[str]:
    """Repeat, one after another, each kind of fault that no line reported.

    Args:
        setup: The setup, recovered after the first pass.
        planned: The faults of the first pass.
        seed: Seed of the details of each fault.
        longest_s: No fault begins later than this, s.

    Returns:
        The kinds that were repeated.
    """
    random, until, again = Random(seed), time.monotonic() + longest_s, []
    for kind in sorted({p.kind for p in planned} - set(plan.WORK)):
        if kind in await _told(setup) or time.monotonic() > until:
            continue
        again.append(kind)
        setup.note(f"second pass: {kind}")
        for _ in range(TRIES):
            if time.monotonic() > until:
                return again
            await setup.well(60)
            if await _is_told(setup, kind, random):
                break
    return again


async def retrain(setup: ChaosSetup) -> str:
    """Ask for one retrain at the end, because each earlier one may have met a fault.

    Returns:
        The verdict, or an empty string if the retrain made no candidate.
    """
    heard, until = len(setup.events), time.monotonic() + RETRAIN_S
    setup.command("retrain")
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        for event in setup.events[heard:]:
            if event.get("kind") == "retrain_finished":
                setup.note(event["text"])
                return str(event["text"])
    return ""


async def _told(setup: ChaosSetup) -> set[str]:
    return {v.of.kind for v in await asyncio.to_thread(told_so_far, setup) if v.outcome == "told"}


async def _is_told(setup: ChaosSetup, kind: str, random: Random) -> bool:
    """Do one fault and wait until the journal reports it; return False if it never does."""
    before = sum(o.kind == kind for o in occurrences(setup))
    planned = plan.one(random, kind, setup.exchange_s() + _AHEAD_S)
    if planned.is_of_exchange:
        setup.add_fault(plan.fault(planned, 0.0, setup.speed))
        await asyncio.sleep(_AHEAD_S)
    await ChaosFaults(setup).do(planned)
    until = time.monotonic() + AFTER_S
    while time.monotonic() < until:
        of_kind = [v for v in await asyncio.to_thread(told_so_far, setup) if v.of.kind == kind]
        if len(of_kind) == before:
            return False  # it was missed
        if of_kind[-1].outcome in {"told", "untouched", "masked"}:
            return of_kind[-1].outcome == "told"
        await asyncio.sleep(_LOOK_S)
    return False

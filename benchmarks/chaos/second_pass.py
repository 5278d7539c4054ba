"""After the storm of `benchmarks.chaos`: what no line told of is done once more, in peace.

In a storm one fault hides another: the daemon is dead while the exchange lies. So that at the
end every kind has been told at least once, each that was not is done alone, until the
journal tells of it or must have.
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


async def encore(
    stage: ChaosSetup, planned: list[Planned], seed: int, longest_s: float
) -> list[str]:
    """Do again, one after another, each kind of a plan that nothing told of.

    Args:
        stage: After the storm, and well again.
        planned: What was to be done in it.
        seed: Of the particulars.
        longest_s: No new one begins later; what is not told by then never was.

    Returns:
        Which kinds were done again.
    """
    random, until, again = Random(seed), time.monotonic() + longest_s, []
    for kind in sorted({p.kind for p in planned} - set(plan.WORK)):
        if kind in await _told(stage) or time.monotonic() > until:
            continue
        again.append(kind)
        stage.note(f"encore of {kind}")
        for _ in range(TRIES):
            if time.monotonic() > until:
                return again
            await stage.well(60)
            if await _is_told(stage, kind, random):
                break
    return again


async def retrain(stage: ChaosSetup) -> str:
    """Ask for one retrain when all is over: in the storm each may have met a fault.

    Returns:
        What it came to, or an empty string if it left no candidate.
    """
    heard, until = len(stage.events), time.monotonic() + RETRAIN_S
    stage.command("retrain")
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        for event in stage.events[heard:]:
            if event.get("kind") == "retrain_finished":
                stage.note(event["text"])
                return str(event["text"])
    return ""


async def _told(stage: ChaosSetup) -> set[str]:
    return {v.of.kind for v in await asyncio.to_thread(told_so_far, stage) if v.outcome == "told"}


async def _is_told(stage: ChaosSetup, kind: str, random: Random) -> bool:
    """Do one, and wait until it is told of; False if it never is."""
    before = sum(o.kind == kind for o in occurrences(stage))
    planned = plan.one(random, kind, stage.exchange_s() + _AHEAD_S)
    if planned.is_of_exchange:
        stage.add_fault(plan.fault(planned, 0.0, stage.speed))
        await asyncio.sleep(_AHEAD_S)
    await ChaosFaults(stage).do(planned)
    until = time.monotonic() + AFTER_S
    while time.monotonic() < until:
        of_kind = [v for v in await asyncio.to_thread(told_so_far, stage) if v.of.kind == kind]
        if len(of_kind) == before:
            return False  # it was missed
        if of_kind[-1].outcome in {"told", "untouched", "masked"}:
            return of_kind[-1].outcome == "told"
        await asyncio.sleep(_LOOK_S)
    return False

"""Ask the daemon of `benchmarks.chaos` for a swap, so that faults happen during one."""

import asyncio
import contextlib
from random import Random

from benchmarks.chaos.plan import Planned
from benchmarks.chaos.setup import SLOT, ChaosSetup


async def promote(setup: ChaosSetup, planned: Planned) -> str:
    """Ask for the promotion of another intact version; return in words which one."""
    live = None
    with contextlib.suppress(Exception):
        live = setup.registry.live(SLOT)
    whole = await asyncio.to_thread(whole_versions, setup)
    others = [m for m in whole if live is None or m != live.model_id]
    if not others:
        return "missed: there is no other whole version"
    target = Random(planned.details.get("draw", planned.at_s)).choice(others)
    setup.command("promote", model_id=target)
    return f"asked for {target}"


def whole_versions(setup: ChaosSetup) -> list[str]:
    """Return the intact versions that passed their gates, oldest first."""
    found = []
    for info in setup.registry.versions(SLOT):
        with contextlib.suppress(Exception):
            setup.registry.verify(SLOT, info.model_id)
            if info.passed:
                found.append(info.model_id)
    return found

"""Have the cohorts of a slot learnt anew before it is retrained, if they are learnt at all."""

import asyncio
from pathlib import Path

import msgspec
import structlog

from daemon.cohorts import cohort_csv
from daemon.cohorts.refresh import RESULT, Refreshed
from daemon.config.schema import Config, SlotSection
from daemon.core.errors import RetrainFailedError
from daemon.store import taker_table
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from daemon.store.taker_table import CohortList
from daemon.training.jobs import Jobs
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, SlotName

log = structlog.get_logger()


async def refresh_cohorts(
    config: Config, section: SlotSection, store: AsyncStore, jobs: Jobs, at_ms: int
) -> None:
    """Learn from the trades heard so far; what is learnt is in force from the next whole bar on.

    A failure leaves the cohorts as they were, and is logged: the retrain goes on.

    Args:
        config: The whole configuration.
        section: The configuration of the slot.
        store: Has what addresses took; takes the lists.
        jobs: Runs the child process.
        at_ms: The time of the retrain, ms UTC.
    """
    slot = section.name
    if not config.features.learn_cohorts:
        return
    from_t = -(-at_ms // slot.interval_ms) * slot.interval_ms + slot.interval_ms
    given = (str(config.data_dir), str(slot), str(section.horizon), str(from_t))
    try:
        text = await jobs.ask_ours("daemon.cohorts.refresh", f"{slot}-cohorts", given, RESULT)
        found = msgspec.json.decode(text, type=Refreshed)
        await _take(store, slot, found)
        await asyncio.to_thread(_write, config.data_dir / "cohorts" / f"{slot}.csv", found)
    except (RetrainFailedError, BadInput, OSError, msgspec.MsgspecError) as e:
        log.warning("cohorts.not_learnt", slot=str(slot), why=str(e))
        return
    newest = found.lists[-1]
    log.info(
        "cohorts.learnt",
        slot=str(slot),
        top=len(newest.top),
        bottom=len(newest.bottom),
        tried=found.tried,
        from_t=newest.from_t,
    )


def _write(path: Path, found: Refreshed) -> None:
    """Write the newest list for people, and for bots with feature code of their own."""
    path.parent.mkdir(exist_ok=True)
    cohort_csv.write(path, found.members)


async def _take(store: AsyncStore, slot: SlotName, found: Refreshed) -> None:
    """Give bars from before the newest list their flow, a day at a time; then store the lists.

    In this order, because the flow of earlier bars is written where there is no list yet.
    """
    for one, after in zip(found.lists, found.lists[1:], strict=False):
        for t in range(one.from_t, after.from_t, DAY_MS):
            last = min(t + DAY_MS, after.from_t) - 1
            await store.call(_rewrite, slot, one, t, last)
    await store.call(_put, slot, found.lists)


def _put(store: Store, slot: SlotName, lists: tuple[CohortList, ...]) -> None:
    taker_table.put_lists(store.database, slot, lists)


def _rewrite(store: Store, slot: SlotName, one: CohortList, from_t: int, to_t: int) -> None:
    taker_table.rewrite_flow(store.database, slot, one, from_t, to_t)

"""What child processes replay is what each slot would have rebuilt, or it rebuilds itself."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.core.bars import Bar, Provenance
from daemon.runtime import event_codec
from daemon.runtime.checkpoints.replays_ahead import FEWEST, ReplaysAhead
from daemon.runtime.recovery import JOURNAL_DAYS, Rebuilt, new_engine, rebuilt
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor import actions, events
from monitor.policy import PolicySettings
from retrain import features

SETTINGS = PolicySettings(min_bars=10**9, cooldown_hours=3.5)
SLOTS = [SlotName(f"C{n}", "5m") for n in range(FEWEST)]
BUSY = SLOTS[0]
STEP, START, BARS = 300_000, 20_000 * DAY_MS, 40
NOW_MS = START + JOURNAL_DAYS * DAY_MS + 5 * STEP  # the oldest events are left out


def fill(store: Store, slot: SlotName) -> None:
    """Store bars, and the scores of those after the first."""
    for n in range(BARS):
        t, close = START + n * STEP, 100.0 + n
        bar = Bar(t, close, close, close, close, 1.0)
        store.put_bars(slot, [bar], Provenance.REST)
        row = (0.5,) * len(features.NAMES)
        scored = events.BarScored(slot=str(slot), at_ms=t + STEP, t=t, close=close, row=row)
        store.append_journal(slot, scored.at_ms, *event_codec.body(scored))
    if slot == BUSY:
        now: dict[str, Any] = {"slot": str(slot), "at_ms": START + BARS * STEP}
        asked: dict[str, Any] = {"request_id": "r", "command": "retrain", "reason": "now"}
        job: dict[str, Any] = {
            "job_id": f"{slot}-{now['at_ms']}-1",
            "model_id": "m",
            "passed": True,
        }
        for news in (
            events.CommandReceived(**now, **asked),
            events.RetrainFinished(**now, **job),
        ):
            store.append_journal(slot, news.at_ms, *event_codec.body(news))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ThreadedStore]:
    threaded = ThreadedStore(Store(tmp_path / "store.sqlite"))
    for slot in SLOTS:
        fill(threaded.store, slot)
    yield threaded
    threaded.close()


async def start(
    path: Path, store: ThreadedStore, slots: list[SlotName] = SLOTS, cores: int = 2
) -> list[SlotName]:
    """Start the slots; return those that went on, in their order."""
    gone_on: list[SlotName] = []

    async def go_on(slot: SlotName) -> None:
        gone_on.append(slot)

    settings = dict.fromkeys(slots, SETTINGS)
    async with ReplaysAhead(path, store, settings, NOW_MS, cores) as ahead, asyncio.timeout(60):
        await asyncio.gather(*(ahead.replay(slot, partial(go_on, slot)) for slot in slots))
    return gone_on


def restarted(store: ThreadedStore, slot: SlotName) -> Rebuilt:
    since_ms = NOW_MS - JOURNAL_DAYS * DAY_MS
    return rebuilt(store.store, slot, since_ms, partial(new_engine, slot, SETTINGS))


async def test_children_keep_what_each_slot_would_have_rebuilt(
    tmp_path: Path, store: ThreadedStore
) -> None:
    alone = {slot: restarted(store, slot) for slot in SLOTS}
    assert sorted(await start(tmp_path / "store.sqlite", store)) == SLOTS
    for slot, own in alone.items():
        past = restarted(store, slot)
        assert (past.replayed, own.replayed) == (0, BARS - 4)
        assert past.engine.snapshot() == own.engine.snapshot()
        assert past.engine.settings == own.engine.settings == SETTINGS
        assert past.order == own.order
        found = (past.bars[-1], past.first_t, past.before)
        assert found == (own.bars[-1], own.first_t, own.before)
    assert isinstance(alone[BUSY].order, actions.Deploy)  # a start must not miss it


async def test_a_child_that_fails_costs_one_warning_and_every_slot_goes_on(
    tmp_path: Path, store: ThreadedStore
) -> None:
    with capture_logs() as logs:
        assert sorted(await start(tmp_path / "nowhere.sqlite", store)) == SLOTS
    (told,) = [line for line in logs if line["event"] == "start.replays_here"]
    assert "there is no store" in told["why"]
    assert restarted(store, SLOTS[1]).replayed == BARS - 4


@pytest.mark.parametrize(("count", "cores"), [(FEWEST - 1, 2), (FEWEST, 1)])
async def test_a_few_slots_or_a_single_core_have_no_children(
    tmp_path: Path, store: ThreadedStore, count: int, cores: int
) -> None:
    with capture_logs() as logs:
        assert await start(tmp_path / "nowhere", store, SLOTS[:count], cores) == SLOTS[:count]
    assert logs == []

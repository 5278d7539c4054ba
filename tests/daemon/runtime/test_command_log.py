import asyncio
import contextlib
from pathlib import Path

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import CommandReply
from daemon.runtime.command_log import CommandLog
from daemon.runtime.commands import PER_MINUTE
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import COMMAND_ANSWERED
from hyperdrift.slot_name import SlotName
from tests.daemon.brokers import until
from tests.fakes import FakeClock

SLOT = SlotName("BTC", "5m")


async def test_refusals_stand_in_the_journal_but_a_flood_of_them_does_not(tmp_path: Path) -> None:
    clock = FakeClock()
    store = ThreadedStore(open_store(tmp_path))
    audit = CommandLog(store, clock, VenueClock(clock))
    for number in range(3 * PER_MINUTE):
        reply = CommandReply(request_id=str(number), accepted=False, detail="stale")
        audit.refused(SLOT, reply)
    task = asyncio.create_task(audit.run())
    await until(audit._waiting.empty)
    found = await store.call(lambda s: [e.body for e in s.journal(SLOT, kinds=[COMMAND_ANSWERED])])
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    store.close()
    assert len(found) == PER_MINUTE
    assert found[0] == {"request_id": "0", "accepted": False, "detail": "stale"}

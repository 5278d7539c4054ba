import asyncio
from contextlib import suppress

from daemon.runtime.alert_log import AlertLog
from daemon.runtime.announcements import Announcements, announced
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store


async def test_an_alert_that_no_engine_gave_stands_in_the_journal() -> None:
    store, announcements = ThreadedStore(Store(":memory:")), Announcements()
    writer = AlertLog(announcements)
    alert = {"kind": "alert", "at_ms": 5, "text": "the disk is full", "severity": "critical"}
    announcements.tell(announced("", alert))
    announcements.tell(announced("BTC-5m", alert, seq=9))  # it is there already
    announcements.tell(announced("BTC-5m", {"kind": "acknowledged", "at_ms": 5, "text": "it did"}))
    announcements.tell(announced("BTC-5m", {"kind": "gap", "at_ms": 6, "text": "lost", "to_t": 1}))
    task = asyncio.create_task(writer.run(store))
    while len(entries := await store.call(lambda of: list(of.journal()))) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    found = [(str(one.slot or ""), one.kind, one.body["text"]) for one in entries]
    assert found == [("", "alert", "the disk is full"), ("BTC-5m", "gap", "lost")]
    assert entries[1].body["to_t"] == 1
    store.close()


async def test_a_flood_of_alerts_does_not_fill_the_memory() -> None:
    announcements = Announcements()
    writer = AlertLog(announcements)
    for at_ms in range(1000):
        announcements.tell(announced("", {"kind": "alert", "at_ms": at_ms, "text": "again"}))
    assert writer._waiting.qsize() == 100

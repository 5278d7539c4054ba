"""Everything that happens to a slot, in order; nobody keeps anybody else out."""

import asyncio

import pytest

from daemon.runtime.inbox import INBOX, PREDICTIONS, BotPrediction, Inbox
from monitor.events import Ticked


def tick(at_ms: int = 0) -> Ticked:
    return Ticked(slot="BTC-5m", at_ms=at_ms)


async def test_what_is_put_comes_out_in_order() -> None:
    inbox = Inbox()
    await inbox.put(tick(1))
    assert inbox.put_nowait(BotPrediction(0, None, 2))
    assert inbox.put_nowait(tick(3))
    assert not inbox.empty()
    assert await inbox.get() == tick(1)
    assert await inbox.get() == BotPrediction(0, None, 2)
    assert await inbox.get() == tick(3)
    assert inbox.empty()


async def test_a_flood_of_predictions_leaves_room_for_everything_else() -> None:
    inbox = Inbox()
    taken = [inbox.put_nowait(BotPrediction(t, None, t)) for t in range(PREDICTIONS + 10)]
    assert taken.count(True) == PREDICTIONS
    assert all(inbox.put_nowait(tick(n)) for n in range(INBOX))
    assert not inbox.put_nowait(tick())
    await inbox.get()
    assert inbox.put_nowait(BotPrediction(0, None, 0))


async def test_a_bar_waits_for_room() -> None:
    inbox = Inbox()
    while inbox.put_nowait(tick()):
        pass
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await inbox.put(tick(1))

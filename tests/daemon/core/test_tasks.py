"""A loss and a cancellation in one turn of the loop: the task ends all the same."""

import asyncio

import pytest

from daemon.core.tasks import in_own_task


async def lose() -> None:
    raise OSError


async def session() -> None:
    """Lose the connection at once, with others at work beside it."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(lose())


async def reconnecting(losses: list[int]) -> None:
    """Do what `MqttConnection.run` and `CandleStream.run` do."""
    while True:
        try:
            await in_own_task(session())
        except* OSError:
            losses.append(1)


@pytest.mark.parametrize("turns", range(12))
async def test_who_reconnects_for_ever_ends_in_whatever_turn_it_is_cancelled(turns: int) -> None:
    losses: list[int] = []
    task = asyncio.create_task(reconnecting(losses))
    for _ in range(20 + turns):
        await asyncio.sleep(0)
    assert len(losses) > 2
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_what_the_work_returns_comes_back() -> None:
    assert await in_own_task(asyncio.sleep(0, "done")) == "done"

"""No task ends without somebody being told, and none outlives its owner."""

import asyncio

import pytest

from daemon.core.tasks import in_own_task, running


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


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_task_beside_a_block_ends_with_the_block() -> None:
    before = len(asyncio.all_tasks())
    async with running(for_ever(), "beside"):
        assert len(asyncio.all_tasks()) == before + 1
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_a_task_that_fails_ends_the_block_beside_it_with_its_own_error() -> None:
    with pytest.raises(OSError, match="gone"):
        async with running(fail(), "beside"):
            await for_ever()


async def fail() -> None:
    raise OSError("gone")


async def test_a_block_that_fails_raises_its_own_error_and_ends_the_task() -> None:
    before = len(asyncio.all_tasks())
    with pytest.raises(KeyError, match="mine"):
        async with running(for_ever(), "beside"):
            raise KeyError("mine")
    assert len(asyncio.all_tasks()) == before


async def test_a_block_whose_task_is_over_goes_on() -> None:
    async with running(asyncio.sleep(0), "short"):
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_cancelled_block_is_cancelled() -> None:
    async def block() -> None:
        async with running(for_ever(), "beside"):
            await for_ever()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

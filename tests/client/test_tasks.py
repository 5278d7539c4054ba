"""Waits that neither lose a cancellation nor leave work behind."""

import asyncio
import gc

import pytest

from hyperdrift.tasks import run_together, within


async def test_what_is_done_in_time_is_returned() -> None:
    assert await within(10, asyncio.sleep(0, "done")) == "done"


async def test_what_takes_longer_is_ended() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await within(0.001, work())
    assert ended.is_set()


async def test_a_failure_of_the_work_is_the_waiters() -> None:
    async def work() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await within(10, work())


async def test_a_cancellation_in_the_turn_in_which_the_work_fails_is_not_lost() -> None:
    failing = asyncio.Event()

    async def work() -> None:
        await failing.wait()
        raise OSError("gone")

    async def reconnect_for_ever() -> None:
        while True:
            try:
                await within(10, work())
            except OSError:
                failing.clear()

    task = asyncio.create_task(reconnect_for_ever())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lost: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
    failing.set()
    task.cancel()
    await asyncio.wait([task], timeout=60)
    assert task.cancelled()
    del task
    gc.collect()
    assert lost == [], "a failure that nobody asked for"


async def test_the_first_end_ends_the_others_and_its_failure_is_told() -> None:
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("the connection broke")

    with pytest.raises(OSError, match="the connection broke"):
        await run_together(wait("a"), fail(), wait("b"))
    assert sorted(ended) == ["a", "b"]


async def test_cancelled_it_ends_all_of_them() -> None:
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    task = asyncio.create_task(run_together(wait("a"), wait("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["a", "b"]

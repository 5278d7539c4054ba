"""Wait for work without losing a cancellation, also on Python 3.10.

Python 3.10 has no task groups. If a wait ends and is cancelled in the same turn of the event
loop, `asyncio.wait_for` of older Pythons loses the cancellation. Then a task that reconnects
for ever would not end when it is cancelled.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a task of its own, and return its result if it ends in time.

    Args:
        seconds: How long it may take, in seconds.
        work: The work; it is cancelled when the time is over.

    Raises:
        TimeoutError: If it takes longer.
        CancelledError: If the caller is cancelled, even if the work has ended.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        await _end([task])  # also takes a failure that nobody else will ask for
        raise
    if not task.done():
        await _end([task])
    if task.cancelled():
        raise TimeoutError
    return task.result()


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all works until the first one ends; then cancel the others.

    Raises:
        Exception: The error of a work that failed.
        CancelledError: If the caller is cancelled.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _end(tasks: "list[asyncio.Task[Any]]") -> None:
    """Cancel tasks and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Wait for work without losing a cancellation, also on Python 3.10.

Older Pythons have no task groups, and where a wait ends and is cancelled in the same turn of
the event loop, their own helpers hand on the one and forget the other. Whoever reconnects for
ever has to end when it is told to.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does, if it is done in time; it runs in a task of its own.

    Args:
        seconds: How long it may take.
        work: What is to be done; cancelled when the time is over.

    Raises:
        TimeoutError: If it took longer.
        CancelledError: If this task was cancelled, whatever became of the work.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        if not task.done():
            await _end([task])
    if task.cancelled():
        raise TimeoutError
    return task.result()


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all of them until the first one ends; then end the others.

    Raises:
        Exception: What the first one to fail raised.
        CancelledError: If this task was cancelled.
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
    """Cancel what still runs and wait until it has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

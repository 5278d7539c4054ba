"""A cancellation that must not be lost: who reconnects for ever has to end when told to.

Where a task group fails and is cancelled in the same turn of the event loop, Python before
3.13 hands on the failure and forgets the cancellation (python/cpython#116720). A loop that
tries again after a failure would then go on for ever, and whoever ended it would wait.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does, run in a task that ends when this one is cancelled.

    Raises:
        CancelledError: If this task was cancelled, whatever became of the work.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return task.result()

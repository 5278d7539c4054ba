"""Own every task: none ends without somebody being told, and none outlives its owner.

Where a task group fails and is cancelled in the same turn of the event loop, Python before
3.13 hands on the failure and forgets the cancellation (python/cpython#116720). A loop that
tries again after a failure would then go on for ever, and whoever ended it would wait.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
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


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run `work` in a task of its own beside the block, and end it with the block.

    If it fails, the block is cancelled and the failure raised in its place. If the block fails,
    its own exception is raised, not a group.

    Args:
        work: What to run.
        name: The task's.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work, name=name)
            yield
            task.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
    else:
        return
    raise error

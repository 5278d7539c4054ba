"""Run tasks with an owner: the owner gets each failure, and each task ends with its owner.

A task group may fail and be cancelled in the same turn of the event loop. Python before 3.13
then raises the failure and loses the cancellation (python/cpython#116720). A loop that tries
again after a failure would never end, and whoever cancelled it would wait for ever.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a task of its own and return its result.

    If this task is cancelled, that one is cancelled too.

    Raises:
        CancelledError: If this task was cancelled, even if the work ended or failed.
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

    If `work` fails, the block is cancelled and the failure is raised. If the block fails, its
    own exception is raised, not a group.

    Args:
        work: What to run.
        name: The name of the task.
    """
    with single_failure():
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work, name=name)
            yield
            task.cancel()


@contextlib.contextmanager
def single_failure() -> Iterator[None]:
    """Raise the failure of a task group itself, not a group of one."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
    else:
        return
    raise error

"""The base class of the fault groups of `benchmarks.chaos`: the setup and the locks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from benchmarks.chaos.plan import Planned
from benchmarks.chaos.setup import ChaosSetup


class FaultGroup:
    """Faults of one kind of target; the method of each fault has the name of its kind.

    A method returns in words what it did. It returns "missed: ..." if the fault could not be
    done, and "untouched: ..." if the fault met nothing.
    """

    def __init__(self, setup: ChaosSetup) -> None:
        self._setup = setup
        self.began: dict[str, float] = {}  # of faults that waited for another

    def find(self, kind: str) -> Callable[[Planned], Awaitable[str]] | None:
        """Return the method for a kind of fault, None if the group has none."""
        found: Callable[[Planned], Awaitable[str]] | None = getattr(self, kind, None)
        return found

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, lock: asyncio.Lock, planned: Planned) -> AsyncIterator[None]:
        """Wait for faults that cannot be done at the same time; the fault begins after that."""
        async with lock:
            self.began[planned.kind] = time.time()
            yield

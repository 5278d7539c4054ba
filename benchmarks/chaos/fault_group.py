"""What all groups of faults of `benchmarks.chaos` share: the setup, and one thing at a time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from benchmarks.chaos.plan import Planned
from benchmarks.chaos.setup import ChaosSetup


class FaultGroup:
    """Faults of one kind of target; each has the method that its kind names.

    A method returns what it did, in words: "missed: ..." if it could not be done, "untouched:
    ..." if it met nothing.
    """

    def __init__(self, setup: ChaosSetup) -> None:
        self._setup = setup
        self.began: dict[str, float] = {}  # of what had to wait for another of its kind

    def find(self, kind: str) -> Callable[[Planned], Awaitable[str]] | None:
        """Return the method for a kind of fault, None if it is not of this group."""
        found: Callable[[Planned], Awaitable[str]] | None = getattr(self, kind, None)
        return found

    @contextlib.asynccontextmanager
    async def _alone(self, lock: asyncio.Lock, planned: Planned) -> AsyncIterator[None]:
        """Wait for what cannot be done at the same time; the fault begins only then."""
        async with lock:
            self.began[planned.kind] = time.time()
            yield

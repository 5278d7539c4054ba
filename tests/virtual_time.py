"""An event loop whose time jumps to the next timer whenever nothing is left to do.

Real sockets, servers and clients run on it unchanged: hours of reconnects, pings and bar
closes pass in a second, and a busy machine changes nothing in what happens when.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store

P = ParamSpec("P")
R = TypeVar("R")


class _JumpingSelector(selectors.BaseSelector):
    """Looks at the sockets without waiting; what it should have waited passes at once."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # nothing is planned: only a socket can go on
            return self._real.select(10)
        self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(work)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in virtual time; its fixtures are made before that."""

    @functools.wraps(test)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_test


@dataclass(frozen=True)
class LoopClock:
    """The time of the running loop, `rate` times as fast."""

    begin_ms: int = 1_750_000_000_000
    rate: float = 1.0

    def now_ms(self) -> int:
        return self.begin_ms + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self.rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)


class InlineStore(ThreadedStore):
    """Without its thread, which a loop that jumps would not wait for."""

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return method(self.store, *args, **kwargs)

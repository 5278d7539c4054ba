"""Deliver messages to one service: a bounded queue, attempts with growing pauses, an end.

A service that is away for hours gets what waited as one message. One that never comes back costs
fifty messages of memory and one thread at most, and holds up nothing.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from daemon.core.log_once import LogOnce
from daemon.notify.notice import Notice, merged
from daemon.notify.services import Outcome
from hyperdrift.clock import Clock
from hyperdrift.slot_name import DAY_MS

log = structlog.get_logger()

TIMEOUT_S: Final = 30.0
PAUSES_S: Final = (10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 3600.0)
"""Between the attempts; after the last one the message is given up."""
ROOM: Final = 50
_FAILING: Final = 2
_GOODBYE_S: Final = 1.0


@dataclass(slots=True)
class DeliveryCounts:
    """What became of messages since the start, over all services.

    Attributes:
        sent: Messages that a service took.
        failed: Attempts that failed.
        given_up: Messages that a service will not get any more.
    """

    sent: int = 0
    failed: int = 0
    given_up: int = 0


class Sends(Protocol):
    """What an outbox needs of a service."""

    name: str

    def send(self, message: Notice) -> Outcome:
        """Send a message, and wait for it."""
        ...


class Delivery:
    """Delivers to one service.

    Args:
        service: The service.
        clock: Real time.
        changed: Called after each change of what waits.
        timeout_s: How long one attempt may take, seconds.
        counts: Counts what becomes of messages.
    """

    def __init__(
        self,
        service: Sends,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
        *,
        timeout_s: float = TIMEOUT_S,
        counts: DeliveryCounts | None = None,
    ) -> None:
        self._counts = counts or DeliveryCounts()
        self._service, self._clock, self._changed = service, clock, changed
        self._timeout_s = timeout_s
        self._waiting: deque[Notice] = deque()
        self._batch: list[Notice] = []
        self._there = asyncio.Event()
        self._failed, self._tries, self.why = LogOnce(), 0, ""
        self._under_way: asyncio.Future[Outcome] | None = None

    @property
    def name(self) -> str:
        """The service's name, without its secret."""
        return self._service.name

    @property
    def waiting(self) -> list[Notice]:
        """What is not delivered yet, oldest first."""
        return list(self._waiting)

    @property
    def trouble(self) -> str:
        """What keeps the service from taking messages, in words; empty if nothing does."""
        if not self.why:
            return ""
        return (
            f"notify service {self.name} takes no messages: {self.why}; mend its address or wait,"
            " and try `hyperdrift notify test`"
        )

    def put(self, messages: Iterable[Notice]) -> None:
        """Take messages; the oldest are dropped if there are too many."""
        for message in messages:
            self._waiting.append(message)
            if len(self._waiting) > ROOM:
                self._give_up([self._waiting.popleft()], "too many wait")
        if self._waiting:
            self._there.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._there.wait()
            self._drop_old()
            batch = list(self._waiting)
            if not batch:
                self._there.clear()
                continue
            self._batch = batch
            outcome = await self._attempt(merged(batch))
            if outcome.sent:
                self._delivered(batch)
            else:
                await self._not_delivered(batch, outcome)

    async def close(self) -> None:
        """After the end of `run`, wait a second for an attempt under way: it may be sent."""
        if self._under_way is None:
            return
        await asyncio.wait([self._under_way], timeout=_GOODBYE_S)
        if self._under_way.done() and self._under_way.result().sent:
            self._delivered(self._batch)

    def _delivered(self, batch: list[Notice]) -> None:
        self._counts.sent += 1
        self._remove(batch)
        self._tries, self.why = 0, ""
        if self._failed.ends():
            log.info("notify.back", service=self.name)

    async def _not_delivered(self, batch: list[Notice], outcome: Outcome) -> None:
        self._counts.failed += 1
        self._tries += 1
        if self._failed.begins():
            log.warning("notify.failed", service=self.name, why=outcome.why, outcome="tried again")
        if self._tries >= _FAILING and not self.why:
            self.why = outcome.why
        if self._tries > len(PAUSES_S):
            self._remove(batch)
            self._give_up(batch, outcome.why)
            self._tries = 0
            return
        await self._clock.sleep(PAUSES_S[self._tries - 1])

    def _remove(self, batch: list[Notice]) -> None:
        for message in batch:
            with contextlib.suppress(ValueError):  # dropped meanwhile
                self._waiting.remove(message)
        self._changed()

    def _drop_old(self) -> None:
        now_ms = self._clock.now_ms()
        old = [one for one in self._waiting if now_ms - one.at_ms > DAY_MS]
        if old:
            self._remove(old)
            self._give_up(old, "they are older than a day")

    def _give_up(self, messages: list[Notice], why: str) -> None:
        self._counts.given_up += len(messages)
        titles = [message.title for message in messages]
        log.error("notify.given_up", service=self.name, count=len(titles), titles=titles, why=why)

    async def _attempt(self, message: Notice) -> Outcome:
        """Send in a thread of its own; one that hangs is left alone until it ends."""
        if self._under_way is not None and not self._under_way.done():
            return Outcome("it hangs since an earlier attempt")
        self._under_way = ended = asyncio.get_running_loop().create_future()
        _start(lambda: self._service.send(message), ended)
        done, _ = await asyncio.wait([ended], timeout=self._timeout_s)
        return (
            ended.result()
            if done
            else Outcome(f"it does not answer within {self._timeout_s:.0f} s")
        )


def _start(send: Callable[[], Outcome], ended: "asyncio.Future[Outcome]") -> None:
    """Run `send` in a thread that holds up no exit; give its result to the loop."""
    loop = asyncio.get_running_loop()

    def settle(outcome: Outcome) -> None:
        if not ended.done():
            ended.set_result(outcome)

    def work() -> None:
        try:
            outcome = send()
        except Exception as e:  # noqa: BLE001 - the outbox goes on
            outcome = Outcome(f"it failed with {type(e).__name__}")
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name="notify", daemon=True).start()

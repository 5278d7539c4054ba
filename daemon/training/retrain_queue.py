"""Let the slots take turns: a few retrains at a time, the others wait.

A change of the market makes every slot ask for a retrain in the same hour. A child for each at
once would take the memory of the host, and none of them would end soon.
"""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Final, NamedTuple

from daemon.config.schema import Config
from daemon.training.retrain_order import (
    CHALLENGE,
    LONGEST_WAIT_S,
    Waiter,
    in_order,
    is_overdue,
)

# So many of the first in the queue hear that their place changed, once in so many seconds; each
# publishes its state then. The others show theirs with the next bar, or the next minute.
_HEAR: Final = 10
_HEAR_EVERY_S: Final = 1.0
_REMEDY: Final = "raise retrain.parallel, add workers, or follow fewer slots"


class Place(NamedTuple):
    """The `place` of somebody in the queue, 1 for the next one, and how many wait in all."""

    place: int
    waiting: int


class Ticket:
    """The right to one turn; `RetrainQueue.enter` gives it, and `leave` ends it.

    Args:
        queue: The queue that gave it.
        waiter: How it is ordered.
        moved: Called when its place has changed.
        late: Called once with a sentence if it waits too long.
        waited_s: How long it has waited before, seconds.
    """

    def __init__(
        self,
        queue: "RetrainQueue",
        waiter: Waiter,
        *,
        moved: Callable[[], None],
        late: Callable[[str], None],
        waited_s: float = 0.0,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._queue, self.waiter, self.moved, self.late = queue, waiter, moved, late
        self._turn: asyncio.Future[int] = loop.create_future()
        left_s = max(0.0, LONGEST_WAIT_S - waited_s)
        self._alarm = loop.call_later(left_s, queue.tell_late, self)
        self.heard = 0
        """The place that `moved` was called for."""

    @property
    def place(self) -> Place | None:
        """Its place; None once its turn has come."""
        return None if self._turn.done() else self._queue.place(self)

    async def turn(self) -> int:
        """Wait for the turn; return how many share the host by then, this one counted."""
        return await asyncio.shield(self._turn)

    def hurry(self) -> None:
        """Let it be ordered from now on as what an operator asked for."""
        self.waiter.kind = "command"
        self._queue.look()

    def leave(self) -> None:
        """Give the turn back, or wait no longer; a second call does nothing."""
        self._alarm.cancel()
        self._queue.leave(self)
        self._turn.cancel()

    def grant(self, sharing: int) -> None:
        """Let its turn begin."""
        self._alarm.cancel()
        self._turn.set_result(sharing)


class RetrainQueue:
    """The queue of all slots.

    Args:
        parallel: How many turns there are at a time, `retrain.parallel`.
    """

    def __init__(self, parallel: int = 1) -> None:
        self._parallel = parallel
        self._backend: Callable[[], int] = int
        self._numbers = itertools.count()
        self._waiting: dict[Waiter, Ticket] = {}
        self._running: set[Ticket] = set()
        self._longest_next, self._speed = True, 1.0
        self._late_s, self._late_told = -math.inf, False
        self._order: list[Waiter] | None = None
        self._hearing: asyncio.TimerHandle | None = None

    @property
    def places(self) -> int:
        """How many turns there are at a time; never fewer than one."""
        return max(1, self._backend() or self._parallel)

    def follow(self, places: Callable[[], int]) -> None:
        """Let a backend say how many retrains it can take.

        Args:
            places: Returns how many; 0 for as many as `retrain.parallel` says. Call `look` when
                it has changed.
        """
        self._backend = places
        self.look()

    def prepare(self, config: Config) -> None:
        """Nothing has to be read for another configuration."""

    def adopt(self, config: Config) -> None:
        """Use another configuration from now on; what runs goes on."""
        self._parallel, self._speed = config.retrain.parallel, config.hyperliquid.speed
        self.look()

    def enter(
        self,
        kind: str,
        *,
        moved: Callable[[], None] = lambda: None,
        late: Callable[[str], None] = lambda _: None,
        waited_ms: int = 0,
    ) -> Ticket:
        """Begin to wait; the turn may have come when this returns.

        Args:
            kind: The trigger of the retrain, or `CHALLENGE`.
            moved: Called when its place has changed; not for each change if many wait.
            late: Called once with a sentence if it waits longer than `LONGEST_WAIT_S`, unless
                another one has just been told of: many wait too long in the same hour.
            waited_ms: How long it has waited before a restart, ms of the venue's time.
        """
        waited_s = waited_ms / 1000 / self._speed
        waiter = Waiter(kind, self._now() - waited_s, next(self._numbers))
        ticket = Ticket(self, waiter, moved=moved, late=late, waited_s=waited_s)
        self._waiting[waiter] = ticket
        self.look()
        return ticket

    def place(self, ticket: Ticket) -> Place:
        """Return the place of a ticket that waits."""
        if self._order is None:
            self._order = self._in_order()
        return Place(self._order.index(ticket.waiter) + 1, len(self._order))

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out, whether it waits or has its turn."""
        self._waiting.pop(ticket.waiter, None)
        self._running.discard(ticket)
        self.look()

    def look(self) -> None:
        """Give the free places to those who wait, and note that places have changed."""
        while self._waiting and len(self._running) < self.places:
            sharing = min(self.places, len(self._running) + len(self._waiting))
            ticket = self._waiting.pop(self._in_order()[0])
            self._longest_next = not self._longest_next
            self._running.add(ticket)
            ticket.grant(sharing)
        self._order = None
        self._look_for_late()
        if self._waiting and self._hearing is None:
            loop = asyncio.get_running_loop()
            self._hearing = loop.call_later(_HEAR_EVERY_S, self._let_hear)

    def tell_late(self, ticket: Ticket) -> None:
        """Tell that a ticket waits too long, if that is news of the whole queue."""
        self._look_for_late()
        if self._late_told or (place := ticket.place) is None:
            return
        self._late_told = True
        hours = f"{max(1.0, (self._now() - ticket.waiter.since_s) / 3600):.1f}".removesuffix(".0")
        what = "a quick challenger" if ticket.waiter.kind == CHALLENGE else "a retrain"
        where = f"it is {place.place} of {place.waiting} in the queue"
        ticket.late(f"{what} has waited {hours} h for its turn, {where}: {_REMEDY}")

    def _look_for_late(self) -> None:
        """Note whether somebody waits too long; an hour after the last one, the next is news."""
        now_s = self._now()
        if now_s - self._late_s >= LONGEST_WAIT_S:
            self._late_told = False
        if any(is_overdue(waiter, now_s) for waiter in self._waiting):
            self._late_s = now_s

    def _let_hear(self) -> None:
        self._hearing = None
        for place, waiter in enumerate(self._in_order()[:_HEAR], 1):
            ticket = self._waiting[waiter]
            if ticket.heard != place:
                ticket.heard = place
                ticket.moved()

    def _in_order(self) -> list[Waiter]:
        return in_order(self._waiting, self._now(), longest_next=self._longest_next)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

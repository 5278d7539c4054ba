"""Answer every page from what the daemon has in memory, its store and its registry.

The first page comes from memory alone: the engines keep what it shows, and a start rebuilds them
from the journal. What was said of a slot is kept until another state of it is published. The page
of a slot reads some hundred rows by an index.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.registry.registry import Registry
from daemon.store.async_store import AsyncStore
from daemon.store.database import StoreUnavailable
from daemon.store.store import Store
from daemon.web.data import headlines, needs
from daemon.web.data.equity import SMALL, equity
from daemon.web.data.journal_page import JournalPage
from daemon.web.data.newest_bars import NewestBars
from daemon.web.data.summary import drift_bars, summary
from daemon.web.data.timeline import History, trained_because, why_live
from daemon.web.data.version_reader import VersionReader
from daemon.web.views import (
    FeedLine,
    FeedView,
    JournalView,
    Overview,
    SlotSummary,
    SlotView,
    VersionView,
)
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName
from monitor.watch import SignalGain

_ENTRIES: Final = 20
# So many slots are summed up between two turns of the event loop.
_AT_ONCE: Final = 20

P = ParamSpec("P")
R = TypeVar("R")


class ShownSlot(Protocol):
    """What the pages need of a slot's runner."""

    @property
    def gains(self) -> Sequence[SignalGain]:
        """What the newest signals returned after costs, oldest first."""
        ...

    @property
    def shown(self) -> SlotState:
        """The state that was published last; the same object until another one is."""
        ...


class _SlotRead(NamedTuple):
    """What the page of a slot reads from the store."""

    bars: NewestBars
    history: History
    journal: JournalPage

    @classmethod
    def read(cls, store: Store, slot: SlotName) -> "_SlotRead":
        journal = JournalPage.read(store, slot, limit=_ENTRIES)
        return cls(NewestBars.read(store, slot), History.read(store, slot), journal)


class Views:
    """The data of the pages, which is also the API's.

    Args:
        slots: The slots, in the order of the configuration.
        status: Returns the status of the daemon.
        broker: Returns why there is no broker; empty if there is one.
        clock: Real time, which lets other tasks go on in between.
        now_ms: Returns the time of the venue, ms UTC.
        store: Bars and journal; a call fails if the disk refuses, and does not wait.
        registry: The versions.
    """

    def __init__(
        self,
        slots: Mapping[SlotName, ShownSlot],
        *,
        status: Callable[[], DaemonStatus],
        broker: Callable[[], str],
        clock: Clock,
        now_ms: Callable[[], int],
        store: AsyncStore,
        registry: Registry,
    ) -> None:
        self._slots, self._status, self._broker = slots, status, broker
        self._clock, self._now_ms, self._store = clock, now_ms, store
        self._versions = VersionReader(registry)
        self._summaries: dict[SlotName, SlotSummary] = {}

    async def overview(self) -> Overview:
        """Return the first page."""
        status, why_no_broker = self._status(), self._broker()
        found = []
        for number, name in enumerate(tuple(self._slots)):
            if name in self._slots:  # else it was removed meanwhile
                found.append(self._summary(name))
            if number % _AT_ONCE == 0:
                await self._clock.sleep(0)  # a bar of one of many slots may wait
        slots = tuple(sorted(found, key=lambda one: needs.rank(one.urgency)))
        needed = needs.of_daemon(needs.DaemonFacts(status, why_no_broker))
        return Overview(
            now_ms=self._now_ms(),
            version=status.version,
            since_ms=status.since_ms,
            doing=status.doing,
            urgency=needs.most_urgent([needed.urgency, *(one.urgency for one in slots)]),
            headline=headlines.of_daemon(status, needed.urgency, slots),
            needs=needed.text,
            venue=status.venue,
            broker_connected=not why_no_broker,
            slots=slots,
        )

    async def slot(self, name: SlotName) -> SlotView:
        """Return the page of a slot of this daemon."""
        read = await self._read(_SlotRead.read, name)
        versions = await asyncio.to_thread(self._versions.versions, name)
        shown, now_ms = self._summary(name), self._now_ms()
        state, gains = shown.state, self._slots[name].gains
        return SlotView(
            summary=shown,
            equity=equity(gains, now_ms),
            drift=drift_bars(state.drift),
            timeline=read.history.timeline() if read else (),
            retrain=state.retrain,
            challenge=state.challenge,
            next_retrain=headlines.next_retrain(state, now_ms),
            why_live=why_live(read.history, state.model_id, versions.live_gates) if read else "",
            versions=versions.lines,
            bots=state.bots,
            bars=read.bars.lines(versions.thresholds) if read else (),
            feed=self._status().feed.get(str(name)),
            journal=read.journal.lines() if read else (),
        )

    async def version(self, name: SlotName, model_id: str) -> VersionView | None:
        """Return the page of a version; None if the slot has no such version."""
        cause = await self._read(trained_because, name, model_id)
        return await asyncio.to_thread(self._versions.version, name, model_id, cause or "")

    async def journal(
        self,
        name: SlotName | None = None,
        kinds: Collection[str] = (),
        since_ms: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> JournalView:
        """Return entries of the journal, newest first.

        Args:
            name: Only of this slot; None is of all, and of the daemon itself.
            kinds: Only of these kinds; none given is all that says something new to a person.
            since_ms: Only from this time on, ms UTC.
            before: Only entries with a smaller number.
            limit: At most so many, 1 to 200.
        """
        filters: dict[str, Any] = {"since_ms": since_ms, "before": before, "limit": limit}
        page = await self._read(JournalPage.read, name, kinds, **filters)
        return JournalView(
            lines=page.lines() if page else (),
            kinds=page.kinds if page else (),
            slots=tuple(map(str, self._slots)),
            older=page.older if page else None,
        )

    async def feed(self) -> FeedView:
        """Return the page of the feed; without slots before there is a feed."""
        status = self._status()
        states = {str(name): slot.shown for name, slot in self._slots.items()}
        lines = [
            FeedLine(
                slot=name,
                last_bar_t=state.last_bar_t,
                lag_ms=state.lag_ms,
                trouble=state.trouble,
                feed=status.feed[name],
            )
            for name, state in states.items()
            if name in status.feed
        ]
        return FeedView(now_ms=self._now_ms(), venue=status.venue, slots=tuple(lines))

    def _summary(self, name: SlotName) -> SlotSummary:
        """Return the sum of a slot; it is made anew when another state was published."""
        slot, now_ms, known = self._slots[name], self._now_ms(), self._summaries.get(name)
        if known is None or known.state is not slot.shown:
            points = equity(slot.gains, now_ms, newest=SMALL)
            known = self._summaries[name] = summary(name, slot.shown, points, now_ms)
        return known

    async def _read(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Return what a method of the store returns; None while the disk refuses.

        The status says so then, and a page shows what the memory has.
        """
        try:
            return await self._store.call(method, *args, **kwargs)
        except StoreUnavailable:
            return None

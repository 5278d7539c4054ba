"""Add and remove slots while the daemon runs; the others go on as they are.

A slot that is removed ends with its retrain, and leaves nothing on the broker; its bars, journal
and models stay on disk. A slot that is added serves the model that it has at once, and its past
is fetched beside the others.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import msgspec
import structlog

from daemon.config.limits import fetched_ms
from daemon.config.schema import Config
from daemon.hyperliquid.held_channels import MOST_SUBSCRIPTIONS
from daemon.market_data.feed import Feed
from daemon.market_data.listed_coins import ListedCoins
from daemon.market_data.order_flow import CohortFlow
from daemon.runtime.announcements import announced
from daemon.runtime.inbox import Inbox
from daemon.runtime.slot_runner import SlotRunner, SlotStart
from daemon.service.coin_choice import subscriptions
from daemon.service.home_assistant_devices import announce_devices
from daemon.service.removed_slots import clear_removed_slots, clear_slots
from daemon.service.status_publisher import StatusPublisher
from daemon.trade_files.trade_counts import TradeCounts
from daemon.wiring import SharedParts, SlotParts, trade_follower
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What a changed configuration adds, built but not running, and what it removes.

    `deeper` are the slots that stay, and are to learn from more of the past.
    """

    shared: SharedParts
    deeper: tuple[SlotName, ...]
    added: dict[SlotName, tuple[Inbox, SlotRunner]]
    removed: tuple[SlotName, ...]


class SlotChanges:
    """Changes the slots of a running daemon.

    Args:
        shared: The parts that all slots share.
        parts: The slots; they are changed here.
        tasks: The group that runs them.
        feed: Follows the venue; it runs.
        flow: The order flow of cohorts, None if there is none.
        listed: Knows which coins the venue lists.
        status: Tells which slots there are.
    """

    def __init__(
        self,
        shared: SharedParts,
        parts: SlotParts,
        tasks: asyncio.TaskGroup,
        *,
        feed: Feed,
        flow: CohortFlow | None,
        listed: ListedCoins,
        status: StatusPublisher,
    ) -> None:
        self._shared, self._parts, self._tasks = shared, parts, tasks
        self._feed, self._flow, self._listed, self._status = feed, flow, listed, status
        self._devices: asyncio.Task[None] | None = None
        self._trades: asyncio.Task[None] | None = None

    def plan(self, config: Config) -> SlotPlan:
        """Build what a configuration adds; nothing changes yet.

        Raises:
            ConfigError: If a slot cannot be built, or they are more than the venue serves.
        """
        shared, runners = replace(self._shared, config=config), self._parts.runners
        wanted = {section.name: section for section in config.slots}
        if (many := subscriptions(config)) > MOST_SUBSCRIPTIONS:
            most = f"the {MOST_SUBSCRIPTIONS} that the venue allows"
            raise ConfigError(f"[[slots]] take {many} subscriptions, more than {most}: remove some")
        added = {}
        for slot, section in wanted.items():
            if slot not in runners:
                inbox = Inbox()
                added[slot] = inbox, self._parts.build(shared, section, inbox)
        before = self._shared.config
        had = {section.name: fetched_ms(before, section) for section in before.slots}
        now = {slot: fetched_ms(config, section) for slot, section in wanted.items()}
        deeper = tuple(slot for slot, new in now.items() if new > had.get(slot, new))
        removed = tuple(slot for slot in runners if slot not in wanted)
        return SlotPlan(shared, deeper, added, removed)

    async def carry_out(self, plan: SlotPlan) -> None:
        """Remove and add slots as planned; return when those that are added serve their models."""
        self._shared, now_ms = plan.shared, plan.shared.venue.now_ms()
        for slot in plan.deeper:
            self._feed.deepen(slot, now_ms - self._fetched_ms(slot))
        settled = await self._settle_held()
        if not plan.added and not plan.removed:
            if settled:
                self._announce_devices()
            return
        for slot in sorted(plan.removed, key=lambda slot: -slot.interval_ms):
            await self._remove(slot)  # the longest first: it may be merged from the others
        if plan.removed:
            bus, topics = self._shared.bus, self._shared.topics
            clear_slots(plan.removed, bus, topics, self._parts.inboxes)
        await self._add(plan)
        names = tuple(map(str, self._parts.runners))
        self._status.online = msgspec.structs.replace(self._status.online, slots=names)
        self._status.tell(self._feed)
        self._announce_devices()
        await self.follow_trades()
        log.info("slots.changed", added=_names(plan.added), removed=_names(plan.removed))

    async def _settle_held(self) -> bool:
        """Clear what was left of slots that no star chose; return whether there were any."""
        held, parts, shared = list(self._parts.held), self._parts, self._shared
        if held:
            wanted = [section.name for section in shared.config.slots]
            parts.held[:] = await clear_removed_slots(
                held, shared.bus, shared.topics, wanted, shared.config
            )
        return held != parts.held

    async def follow_trades(self) -> None:
        """Read the file of trades, if there is one, from its beginning for the slots of now."""
        if self._trades is not None:
            self._trades.cancel()
            await asyncio.wait([self._trades])
        if self._shared.config.trades.file and self._parts.inboxes:
            self._shared.book.in_file = TradeCounts()
            follower = trade_follower(self._shared, self._parts.inboxes)
            self._trades = _begun(self._tasks, follower.run(), "trades")

    async def _remove(self, slot: SlotName) -> None:
        inbox, runner = self._parts.inboxes.pop(slot), self._parts.runners.pop(slot)
        await self._feed.remove(slot)
        self._listed.remove(slot)
        if self._flow:
            self._flow.remove(slot)
        keeper = self._parts.keepers.pop(slot)
        keeper.cancel()
        await asyncio.wait([keeper])
        await runner.note_stop()  # nothing changes its engine any more while it is kept
        while not inbox.empty():  # somebody may wait for room
            await inbox.get()
        self._parts.swap.unwatch(slot)
        self._end_troubles(slot)

    def _end_troubles(self, slot: SlotName) -> None:
        """Tell that the troubles of a removed slot are over, so that nobody waits for their end."""
        for change in self._shared.troubles.drop(slot):
            told = {"kind": "trouble_over", "at_ms": self._shared.venue.now_ms()}
            message = {**told, "text": change.text, "trouble": change.kind}
            self._shared.bus.publish(self._shared.topics.event(slot), message)
            self._shared.announcements.tell(announced(str(slot), message))

    async def _add(self, plan: SlotPlan) -> None:
        starts = {slot: SlotStart(asyncio.Event()) for slot in plan.added}
        await self._shared.book.recall(self._shared.store, starts)
        for slot, start in starts.items():
            start.goes_on.set()
            inbox, runner = plan.added[slot]
            self._parts.inboxes[slot], self._parts.runners[slot] = inbox, runner
            self._parts.swap.watch(slot)
            self._parts.router.hear(slot)
            keeper = runner.run(start.recovered.set, start)
            self._parts.keepers[slot] = _begun(self._tasks, keeper, f"keeper-{slot}")
        for start in starts.values():
            await start.recovered.wait()
        await self._follow(starts)

    async def _follow(self, slots: Iterable[SlotName]) -> None:
        config, now_ms = self._shared.config, self._shared.venue.now_ms()
        slots = list(slots)
        if slots:
            await self._listed.add(slots)
        for slot in sorted(slots, key=lambda slot: slot.interval_ms):
            if self._flow:
                await self._flow.add(slot, config.keep_takers_ms)
            self._feed.add(slot, now_ms - self._fetched_ms(slot))

    def _fetched_ms(self, slot: SlotName) -> int:
        return fetched_ms(self._shared.config, self._shared.config.slot(slot))

    def _announce_devices(self) -> None:
        if self._devices is not None:
            self._devices.cancel()
        shared = self._shared
        config, ours = shared.config, version("hyperdrift")
        devices = announce_devices(config, shared.store, shared.bus, ours, self._parts.held)
        self._devices = _begun(self._tasks, devices, "home-assistant")


def _begun(
    tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str
) -> asyncio.Task[None]:
    return tasks.create_task(work, name=name)


def _names(slots: Iterable[SlotName]) -> list[str]:
    return list(map(str, slots))

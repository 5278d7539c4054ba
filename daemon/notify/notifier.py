"""Send people what matters of everything that is told, each once, also across restarts.

What waits and what was sent is kept in the store. After a start the journal of the last day says
what nobody was told yet, so that a crash, a full disk or a dead service loses no message.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec
import structlog

from daemon.config.notify_times import QuietHours, WeeklyTime, zone_of
from daemon.config.notify_urls import notify_urls
from daemon.config.schema import Config
from daemon.core.clock import VenueClock
from daemon.notify.delivery import Delivery, DeliveryCounts
from daemon.notify.digest import DigestMaker
from daemon.notify.matters import MATTERING
from daemon.notify.notice import Notice
from daemon.notify.rules import Rules, RulesState
from daemon.notify.services import Service, load
from daemon.notify.wording import Wording
from daemon.runtime.announcements import Announcement, Announcements
from daemon.store import properties
from daemon.store.async_store import AsyncStore
from daemon.store.database import StoreUnavailable
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.slot_name import DAY_MS

log = structlog.get_logger()

_NAME: Final = "notify"
_LOOK_S: Final = 5.0
_OF_ENTRY: Final = frozenset({"text", "severity"})


class NotifyState(msgspec.Struct, kw_only=True):
    """What is kept in the store.

    Attributes:
        rules: What the rules know.
        since_ms: What happened before was before the first start with an address, ms UTC.
        digest_ms: When the newest digest was due, ms UTC.
        outboxes: Service -> what it did not take yet.
    """

    rules: RulesState = msgspec.field(default_factory=RulesState)
    since_ms: int = 0
    digest_ms: int = 0
    outboxes: dict[str, list[Notice]] = {}


class Notifier:
    """Listens to everything that is told, and sends what matters.

    Args:
        announcements: Everything that is told; listened to from `run` on.
        store: Holds the journal and what was sent.
        clock: Real time.
        venue: The venue's clock, which dates what is told.
        digest: Writes the weekly digest.

    Attributes:
        counts: What became of messages.
    """

    def __init__(
        self,
        announcements: Announcements,
        store: AsyncStore,
        *,
        clock: Clock,
        venue: VenueClock,
        digest: DigestMaker,
    ) -> None:
        self._announcements, self._store, self._digest = announcements, store, digest
        self._clock, self._venue = clock, venue
        self._prepared: tuple[Service, ...] = ()
        self._state, self._saved, self._dirty = NotifyState(), b"", asyncio.Event()
        self._rules: Rules | None = None
        self._weekly: WeeklyTime | None = None
        self._outboxes: dict[str, Delivery] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._adopted, self.counts = asyncio.Event(), DeliveryCounts()

    @property
    def trouble(self) -> str:
        """Which services take no messages, and why; empty if all do."""
        return "; ".join(filter(None, (box.trouble for box in self._outboxes.values())))

    def prepare(self, config: Config) -> None:
        """Load the services of a configuration; it imports apprise, so call it in a thread.

        Raises:
            ConfigError: If an address cannot be used, or the file of them not be read.
        """
        urls = notify_urls(config.notify)
        self._prepared = load(urls) if urls else ()

    def adopt(self, config: Config) -> None:
        """Use from now on what was prepared last."""
        notify, zone = config.notify, zone_of(config.notify.timezone)
        quiet, wording = QuietHours.parse(notify.quiet_hours, zone), Wording(zone)
        self._rules = Rules(self._state.rules, wording, quiet, notify.max_per_hour)
        self._weekly = WeeklyTime.parse(notify.digest, zone)
        boxes = {}
        for service in self._prepared:
            box = Delivery(service, self._clock, self._dirty.set, counts=self.counts)
            was = self._outboxes.get(service.name)
            box.put(was.waiting if was else self._state.outboxes.get(service.name, []))
            boxes[service.name] = box
        self._outboxes = boxes
        self._adopted.set()

    async def run(self, config: Config) -> None:
        """Send until cancelled. `prepare` was called before."""
        untold: list[Announcement] = []
        stop = self._announcements.listen(untold.append)
        await self._recall()
        self.adopt(config)
        if self._rules is not None:
            self._rules.restarted(self._clock.now_ms())
        missed = await self._missed() if self._outboxes else []
        stop()
        for told in [*missed, *untold]:
            self._take(told)
        stop = self._announcements.listen(self._take)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(), name="notify-state")
                while True:
                    self._restart_boxes(tasks)
                    await self.look()
                    await self._clock.sleep(_LOOK_S)
        finally:
            stop()
            await asyncio.gather(*(box.close() for box in self._outboxes.values()))
            await self._save()

    async def look(self) -> None:
        """Hand over what is due now; it is written down before it is sent."""
        now_ms = self._clock.now_ms()
        if self._rules is None or not self._outboxes:
            return
        messages = self._rules.due(now_ms)
        if (digest := await self._due_digest(now_ms, self._rules)) is not None:
            messages.append(digest)
        for box in self._outboxes.values():
            box.put(messages)
        await self._save()

    async def _due_digest(self, now_ms: int, rules: Rules) -> Notice | None:
        if self._weekly is None:
            return None
        due_ms = self._weekly.newest(now_ms)
        first = not self._state.digest_ms
        if first or now_ms - due_ms > DAY_MS:  # nobody waits for last week's
            self._state.digest_ms = max(self._state.digest_ms, due_ms)
        if due_ms <= self._state.digest_ms or not rules.allows(now_ms):
            return None
        self._state.digest_ms = due_ms
        try:
            return await self._digest.write(now_ms)
        except Exception:
            log.exception("notify.digest_failed")
            return None

    def _take(self, told: Announcement) -> None:
        if self._rules is None or not self._outboxes:
            return
        if self._venue.now_ms() - told.at_ms <= DAY_MS and told.at_ms >= self._state.since_ms:
            self._rules.take(told, self._clock.now_ms())

    def _restart_boxes(self, tasks: asyncio.TaskGroup) -> None:
        if not self._adopted.is_set():
            return
        self._adopted.clear()
        for task in self._tasks.values():
            task.cancel()
        self._tasks = {
            name: tasks.create_task(box.run(), name=f"notify-{name}")
            for name, box in self._outboxes.items()
        }

    async def _recall(self) -> None:
        text = await self._store.call(properties.read, _NAME)
        with contextlib.suppress(msgspec.MsgspecError):  # of another version: begin anew
            self._state = msgspec.json.decode(text or "", type=NotifyState)
        if not self._state.since_ms:
            self._state.since_ms = self._venue.now_ms()

    async def _missed(self) -> list[Announcement]:
        """Return what the journal of the last day says; the rules know what was sent of it."""
        since_ms = max(self._state.since_ms, self._venue.now_ms() - DAY_MS)
        read = partial(_journalled, since_ms=since_ms)
        return await self._store.call(read)

    async def _keep(self) -> None:
        """Write down what was delivered, soon after each delivery."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._save()

    async def _save(self) -> None:
        self._state.outboxes = {
            name: [msgspec.structs.replace(one, picture=b"") for one in box.waiting]
            for name, box in self._outboxes.items()
        }
        text = msgspec.json.encode(self._state)
        if text == self._saved:
            return
        with contextlib.suppress(StoreUnavailable):  # the next look tries again
            await self._store.call(properties.write, _NAME, text.decode())
            self._saved = text


def _journalled(store: Store, since_ms: int) -> list[Announcement]:
    found = store.journal(None, kinds=MATTERING, since_ms=since_ms)
    return [_announcement(entry) for entry in found]


def _announcement(entry: JournalEntry) -> Announcement:
    fields: Mapping[str, object] = entry.body
    return Announcement(
        slot=str(entry.slot or ""),
        kind=entry.kind,
        at_ms=entry.at_ms,
        text=str(fields.get("text", "")),
        severity=str(fields.get("severity", "info")),
        fields={key: value for key, value in fields.items() if key not in _OF_ENTRY},
        seq=entry.seq,
    )

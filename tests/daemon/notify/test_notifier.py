import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from daemon.config.schema import Config, NotifySection
from daemon.core.clock import VenueClock
from daemon.notify import notifier as notifying
from daemon.notify.digest import DigestMaker
from daemon.notify.notice import Notice
from daemon.notify.notifier import Notifier
from daemon.notify.rules import GATHER_MS
from daemon.notify.services import Outcome
from daemon.runtime.announcements import Announcements, announced
from daemon.store import properties
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from tests.daemon.brokers import until
from tests.fakes import FakeClock

BTC = SlotName("BTC", "5m")


class Phone:
    """A service that takes everything, or nothing."""

    def __init__(self, number: int, *, dead: bool = False) -> None:
        self.name, self.dead, self.got = f"{number} (json://h)", dead, list[Notice]()

    def send(self, message: Notice) -> Outcome:
        if self.dead:
            return Outcome("it refuses the connection")
        self.got.append(message)
        return Outcome("")


class ShortClock(FakeClock):
    """A clock by which nobody waits for longer than a minute."""

    async def sleep(self, seconds: float) -> None:
        if seconds > 60:
            await asyncio.Event().wait()
        await super().sleep(seconds)


@dataclass
class Host:
    """What outlives a daemon: the disk, the services and the time."""

    store: ThreadedStore = field(default_factory=lambda: ThreadedStore(Store(":memory:")))
    clock: FakeClock = field(default_factory=ShortClock)
    phones: list[Phone] = field(default_factory=lambda: [Phone(1)])
    config: Config = field(default_factory=Config)

    def tell(self, of: Announcements, kind: str, text: str, **fields: Any) -> None:
        """Journal and announce, as a slot does."""
        message = {"kind": kind, "at_ms": self.clock.now_ms(), "text": text, **fields}
        body = {key: value for key, value in message.items() if key not in {"kind", "at_ms"}}
        self.store.store.append_journal(BTC, self.clock.now_ms(), kind, body)
        of.tell(announced(str(BTC), message))

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[tuple[Announcements, Notifier]]:
        told, venue = Announcements(), VenueClock(self.clock)
        digest = DigestMaker(self.store, venue, [BTC])
        ours = Notifier(told, self.store, clock=self.clock, venue=venue, digest=digest)
        ours.prepare(self.config)
        task = asyncio.create_task(ours.run(self.config))
        await until(lambda: bool(told._listeners and ours._tasks))
        try:
            yield told, ours
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def pass_time(self, ms: int) -> None:
        end_ms = self.clock.ms + ms
        await until(lambda: self.clock.ms >= end_ms)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """Two names for one thing: what `[notify]` names are these phones."""
    ours = Host()
    ours.config = Config(notify=NotifySection(urls=("json://h",), digest=""))
    monkeypatch.setattr(notifying, "load", lambda _: tuple(ours.phones))
    return ours


async def test_what_matters_reaches_every_service_once_also_over_a_restart(host: Host) -> None:
    host.phones.append(Phone(2))
    async with host.daemon() as (told, _):
        host.tell(told, "swapped", "m1 is live: drift", model_id="m1")
        host.tell(told, "drift", "rv_1h drifted")
        await until(lambda: all(phone.got for phone in host.phones))
    async with host.daemon():
        await host.pass_time(10 * GATHER_MS)
    titles = [[one.title for one in phone.got] for phone in host.phones]
    assert titles == [["BTC-5m: model live"], ["BTC-5m: model live"]]
    host.store.close()


async def test_what_a_crash_left_unsent_is_sent_by_the_next_start_if_it_is_of_this_day(
    host: Host,
) -> None:
    async with host.daemon():
        await host.pass_time(1000)
        await until(lambda: properties.read(host.store.store, "notify"))
    unheard = Announcements()
    host.tell(unheard, "rolled_back", "m0 is live: m1 was worse", model_id="m0")
    host.clock.ms += DAY_MS + HOUR_MS
    host.tell(unheard, "rolled_back", "m1 is live: an operator asked", model_id="m1")
    async with host.daemon():
        await until(lambda: host.phones[0].got)
        await host.pass_time(10 * GATHER_MS)
    assert ["m1 is live" in one.text for one in host.phones[0].got] == [True]
    host.store.close()


async def test_what_was_before_the_first_start_with_a_service_is_not_news(host: Host) -> None:
    host.tell(Announcements(), "swapped", "m1 is live: first", model_id="m1")
    host.clock.ms += HOUR_MS
    async with host.daemon():
        await host.pass_time(10 * GATHER_MS)
    assert host.phones[0].got == []
    host.store.close()


async def test_a_dead_service_keeps_what_waits_over_a_restart_and_is_told_of(host: Host) -> None:
    host.phones = [Phone(1, dead=True), Phone(2)]
    async with host.daemon() as (told, ours):
        host.tell(told, "swapped", "m1 is live: drift", model_id="m1")
        await until(lambda: ours.trouble and host.phones[1].got)
        assert ours.trouble.startswith("notify service 1 (json://h) takes no messages")
        assert [one.title for one in host.phones[1].got] == ["BTC-5m: model live"]
    host.phones = [Phone(1), Phone(2)]
    async with host.daemon():
        await until(lambda: host.phones[0].got)
        await host.pass_time(5 * GATHER_MS)
    assert [len(phone.got) for phone in host.phones] == [1, 0]
    host.store.close()


async def test_another_configuration_is_used_from_the_reload_on(host: Host) -> None:
    async with host.daemon() as (told, ours):
        first = host.phones[0]
        host.phones = [Phone(1)]
        ours.prepare(host.config)
        ours.adopt(host.config)
        host.tell(told, "swapped", "m1 is live: drift", model_id="m1")
        await until(lambda: host.phones[0].got)
        host.phones = []
        ours.prepare(host.config)
        ours.adopt(host.config)
        host.tell(told, "swapped", "m2 is live: drift", model_id="m2")
        await host.pass_time(5 * GATHER_MS)
    assert first.got == []
    host.store.close()


async def test_the_digest_is_sent_once_a_week_and_says_when_it_has_no_picture(host: Host) -> None:
    host.config = msgspec.structs.replace(
        host.config, notify=NotifySection(urls=("json://h",), digest="mon 08:00", timezone="UTC")
    )
    async with host.daemon():
        await until(lambda: len(host.phones[0].got) == 1)
        host.clock.ms += 7 * DAY_MS - HOUR_MS
        await until(lambda: len(host.phones[0].got) == 2)
    weeks = [one for one in host.phones[0].got if one.title.startswith("Week: +0 bp")]
    assert len(weeks) == 2
    assert "BTC-5m: +0 bp by 0 signals; 0 retrains, 0 went live" in weeks[0].text
    assert weeks[1].at_ms - weeks[0].at_ms == pytest.approx(7 * DAY_MS, abs=10_000)
    host.store.close()


def test_a_bad_address_is_refused_before_anything_runs() -> None:
    venue = VenueClock(FakeClock())
    store: Any = None
    ours = Notifier(
        Announcements(),
        store,
        clock=FakeClock(),
        venue=venue,
        digest=DigestMaker(store, venue, []),
    )
    bad = Config(notify=NotifySection(urls=("nosuch://secret",)))
    with pytest.raises(ConfigError, match=r"number 1 \(nosuch"):
        ours.prepare(bad)

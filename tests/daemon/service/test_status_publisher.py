import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from daemon.admin.status_text import show_status
from daemon.core.bars import Hole
from daemon.core.clock import VenueClock
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.mqtt.messages import DaemonStatus, VenueState
from daemon.service.status_publisher import StatusPublisher
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.mqtt.topics import Topics
from tests.daemon.fake_venue import BTC, START, STEP
from tests.fakes import FakeClock


@dataclass
class Outbox:
    """Keeps what is published."""

    sent: list[tuple[str, Any, bool]] = field(default_factory=list)

    def publish(self, topic: str, payload: Any, *, retain: bool = False) -> None:
        self.sent.append((topic, msgspec.json.decode(msgspec.json.encode(payload)), retain))


def presence(clock: FakeClock) -> tuple[Outbox, StatusPublisher]:
    outbox = Outbox()
    online = DaemonStatus(state="online", version="1", slots=("BTC-5m",), since_ms=5)
    return outbox, StatusPublisher(online, outbox, Topics(), VenueClock(clock))  # type: ignore[arg-type]


async def test_the_status_tells_the_budget_and_what_became_of_bars(capsys: Any) -> None:
    clock = FakeClock()
    outbox, told = presence(clock)
    venue, store = VenueClock(clock), ThreadedStore(Store(":memory:"))
    rest = RestClient("http://127.0.0.1:9", clock, venue, 800)
    stream = CandleStream("ws://127.0.0.1:9/ws", clock, (BTC,))
    feed = Feed(rest, stream, store, venue, (BTC,))
    rest.tally.refused[BTC] += 2
    stream.refused[BTC] += 1
    rest.oddities.note("duplicate", BTC)
    rest.oddities.note("connection_dropped")
    task = asyncio.create_task(told.run(feed, clock))
    while len(outbox.sent) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    topic, status, retain = outbox.sent[-1]
    assert (topic, retain, status["since_ms"]) == ("hyperdrift/status", True, 5)
    assert status["venue"]["weight_left"] == status["venue"]["weight_per_minute"] == 800
    assert not status["venue"]["connected"]
    assert status["feed"]["BTC-5m"]["refused"] == 3
    assert status["feed"]["BTC-5m"]["oddities"] == {"duplicate": 1}
    assert status["venue"]["oddities"] == {"duplicate": 1, "connection_dropped": 1}
    show_status({"status": status, "slots": {}})
    shown = capsys.readouterr().out
    assert "800 of 800 weight left" in shown
    assert "harmless: 1 duplicate, 1 connection_dropped" in shown
    store.close()


def test_lost_bars_are_an_event_with_their_span() -> None:
    outbox, told = presence(FakeClock())
    told.alarm(BTC, "gap", Hole(START, START + STEP), "2 bars of BTC-5m are lost")
    topic, message, retain = outbox.sent[0]
    assert (topic, retain) == ("hyperdrift/BTC-5m/event", False)
    assert message["kind"] == "gap"
    assert (message["from_t"], message["to_t"]) == (START, START + STEP)


class Venue:
    """A feed of which only the stream matters."""

    slots = ()

    def __init__(self) -> None:
        self.connected = False

    def venue_state(self) -> VenueState:
        zeros: Any = dict.fromkeys(("reconnects", "weight_left", "retries", "throttled"), 0)
        return VenueState(connected=self.connected, weight_per_minute=1, clock_jumps=0, **zeros)


async def test_that_the_stream_comes_or_goes_is_told_within_a_second() -> None:
    clock, feed = FakeClock(), Venue()
    outbox, told = presence(clock)
    task = asyncio.create_task(told.run(feed, clock))  # type: ignore[arg-type]
    for is_there in (False, True, False):
        feed.connected, since_ms = is_there, clock.ms
        while not outbox.sent or outbox.sent[-1][1]["venue"]["connected"] != is_there:
            await asyncio.sleep(0)
        assert clock.ms - since_ms <= 1000
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

"""The reader on a real feed, store and connection, before and after there is a feed."""

from pathlib import Path

from daemon.core.clock import VenueClock
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.notify.delivery import DeliveryCounts
from daemon.store.async_store import ThreadedStore
from daemon.store.retrying_store import RetryingStore
from daemon.store.store import Store
from daemon.web.metrics.reading import DaemonReader
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from tests.daemon.fake_venue import BTC
from tests.daemon.web.metrics.readings import STATE
from tests.fakes import FakeClock


class Runner:
    def state(self) -> object:
        return STATE


async def test_what_is_read_follows_the_parts_of_the_daemon(tmp_path: Path) -> None:
    clock, feeds = FakeClock(), list[Feed]()
    store, venue = ThreadedStore(Store(tmp_path / "store.db")), VenueClock(clock)
    doing, notified = ["fetching bars"], DeliveryCounts()
    reader = DaemonReader(
        version="0.1.0",
        clock=clock,
        runners={BTC: Runner()},  # type: ignore[dict-item]
        store=RetryingStore(store, clock),
        bus=MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:9"), clock),
        start=lambda: doing[0],
        find_feed=lambda: feeds[0] if feeds else None,
        notified=notified,
    )
    first = reader.read()
    assert (first.ready, first.broker_connected, first.writable) == (False, False, True)
    assert (first.venue, first.feed, first.slots) == (None, {}, {"BTC-5m": STATE})

    rest = RestClient("http://127.0.0.1:9", clock, venue, 800)
    rest.tally.refused[BTC] += 2
    stream = CandleStream("ws://127.0.0.1:9/ws", clock, (BTC,))
    feeds.append(Feed(rest, stream, store, venue, (BTC,)))
    await store.call(Store.append_journal, BTC, 5, "BarScored", {"t": 5})
    notified.sent += 1
    doing[0], clock.ms = "", clock.ms + 90_000
    later = reader.read()
    assert (later.ready, later.uptime_s) == (True, 90)
    assert later.rows_written == first.rows_written + 1
    assert later.notified.sent == 1
    assert later.venue is not None
    assert later.venue.weight_left == 800
    assert later.feed["BTC-5m"].refused == 2
    store.close()

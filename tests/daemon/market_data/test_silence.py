"""A slot without new bars of record is told of, once, with since when; filled bars hide nothing."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from daemon.core.clock import VenueClock
from daemon.core.errors import VenueUnreachable
from daemon.core.slot_troubles import COIN_TROUBLE, SlotTroubles
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.silence import SilenceWatch, age, limit_ms
from daemon.mqtt.messages import FeedState
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName
from tests.daemon.fake_venue import BTC, START, STEP, FakeVenue, bar, hourly, serving
from tests.fakes import FakeClock

MINUTE_MS = 60_000
HOURLY = SlotName("ETH", "1h")


@dataclass
class Bars:
    """A feed of which only the newest bars of record and the troubles matter."""

    records: dict[SlotName, int | None]
    why: dict[SlotName, str] = field(default_factory=dict)
    settled: int = START + 10**12

    @property
    def slots(self) -> tuple[SlotName, ...]:
        return tuple(self.records)

    def state(self, slot: SlotName) -> FeedState:
        counts: dict[str, Any] = dict.fromkeys(
            ("confirmed", "provisional", "filled", "revised", "refused", "gaps"), 0
        )
        return FeedState(record_t=self.records[slot], **counts)

    def settled_t(self, slot: SlotName) -> int:
        return self.settled

    def trouble(self, slot: SlotName) -> str:
        return self.why.get(slot, "")


@dataclass
class Desk:
    feed: Bars
    speed: float = 1.0

    def __post_init__(self) -> None:
        self.clock, self.troubles = FakeClock(ms=START), SlotTroubles()
        venue = VenueClock(self.clock, self.speed)
        self.watch = SilenceWatch(cast("Feed", self.feed), self.troubles, venue)
        self.told: list[tuple[SlotName, str, bool]] = []
        self.troubles.listen(lambda slot, c: self.told.append((slot, c.text, c.is_over)))
        self.watch.look()

    def wait(self, minutes: float) -> None:
        self.clock.ms = START + round(minutes * MINUTE_MS)
        self.watch.look()


@pytest.mark.parametrize(
    ("slot", "minutes"), [(BTC, 30), (HOURLY, 180), (SlotName("A", "1d"), 4320)]
)
def test_three_bars_or_half_an_hour_of_silence_are_told_once_and_so_is_its_end(
    slot: SlotName, minutes: int
) -> None:
    desk = Desk(Bars({slot: START - slot.interval_ms}))
    desk.wait(minutes)
    assert desk.told == []
    for later in (1, 2, 600):
        desk.wait(minutes + later)
    ((whose, text, is_over),) = desk.told
    assert (whose, is_over) == (slot, False)
    assert text.startswith(f"no trade of {slot.coin} since 2025-06-15 15:10 UTC")
    desk.feed.records[slot] = desk.clock.ms - slot.interval_ms
    for later in (601, 602):
        desk.wait(minutes + later)
    assert desk.told[1:] == [(slot, text, True)]
    desk.wait(2 * minutes + 700)
    assert len(desk.told) == 3


def test_what_keeps_the_bars_from_coming_is_said_and_other_slots_are_not_touched() -> None:
    desk = Desk(Bars({BTC: None, HOURLY: START - HOUR_MS}, {BTC: "status 500"}))
    desk.wait(31)
    assert [(slot, text) for slot, text, _ in desk.told] == [
        (BTC, "no bar of record of BTC-5m ever: status 500")
    ]


def test_bars_from_before_the_start_are_no_silence_and_a_long_one_is_told_with_its_own_begin() -> (
    None
):
    desk = Desk(Bars({BTC: START - 100 * HOUR_MS}))
    desk.wait(30)
    assert desk.told == []
    desk.wait(31)
    assert "since 2025-06-11 11:15 UTC" in desk.told[0][1]


def test_a_silence_whose_cause_was_told_is_not_told_again() -> None:
    desk = Desk(Bars({BTC: START - STEP}, {BTC: "status 500"}))
    desk.troubles.begin(BTC, "bars", "status 500; it is asked for again")
    desk.wait(100)
    assert [told for _, told, _ in desk.told] == ["status 500; it is asked for again"]
    desk.troubles.end(BTC, "bars")
    desk.wait(101)
    assert desk.troubles.has(BTC, "silence")


def test_a_coin_that_is_not_listed_is_no_silence_and_has_time_for_its_first_bars_after_that() -> (
    None
):
    desk = Desk(Bars({BTC: None}))
    desk.troubles.begin(BTC, COIN_TROUBLE, "BTC is unknown")
    desk.wait(100)
    desk.troubles.end(BTC, COIN_TROUBLE)
    desk.wait(129)
    assert not desk.troubles.has(BTC, "silence")
    desk.wait(131)
    assert desk.troubles.has(BTC, "silence")


def test_a_trouble_of_something_else_hides_no_silence() -> None:
    desk = Desk(Bars({BTC: START - STEP}))
    desk.troubles.begin(BTC, "funding", "status 500 for the funding of BTC")
    desk.wait(100)
    assert "no trade of BTC" in desk.told[-1][1]


def test_a_daemon_that_did_not_ask_blames_no_coin() -> None:
    desk = Desk(Bars({BTC: START - STEP}, settled=START - STEP))
    desk.wait(31)
    assert desk.told[-1][1].startswith(
        "no bar of record of BTC-5m since 2025-06-15 15:10 UTC: the daemon is behind"
    )


def test_in_a_fast_replay_the_machine_itself_has_time() -> None:
    desk = Desk(Bars({BTC: START - STEP}), speed=3000)
    desk.clock.ms = START + 19_900  # sixteen hours of the recording
    desk.watch.look()
    assert desk.told == []


def test_an_age_is_for_people() -> None:
    ages = (-5, 59 * MINUTE_MS, 125 * MINUTE_MS, 50 * HOUR_MS)
    assert [age(ms) for ms in ages] == ["0 min", "59 min", "2 h 5 min", "2 d 2 h"]
    assert limit_ms(BTC) == 30 * MINUTE_MS


async def test_a_coin_that_nobody_trades_and_a_venue_that_fails_are_told_apart() -> None:
    clock, troubles = FakeClock(ms=START + STEP // 2), SlotTroubles()
    venue = VenueClock(clock)
    fake = FakeVenue(clock.now_ms, funding=hourly(START - 30 * HOUR_MS, 200))
    fake.put(bar(k) for k in range(-20, 20))
    keeper = ThreadedStore(Store(":memory:"))
    told: list[tuple[str, bool]] = []
    troubles.listen(lambda _, change: told.append((change.text, change.is_over)))
    async with serving(fake), RestClient(fake.url, clock, venue) as rest:
        feed = Feed(rest, CandleStream("ws://127.0.0.1:9", clock, ()), keeper, venue, (BTC,))
        await feed.backfill({BTC: START - 20 * STEP})
        watch = SilenceWatch(feed, troubles, venue)
        follower: Any = feed._followers[BTC]
        task = asyncio.create_task(follower.run(None))
        got, bars = 0, feed.bars()
        while got < 30:  # REST has nothing after the twentieth; flat bars stand in
            await anext(bars)
            watch.look()
            got += 1
        assert feed.state(BTC).record_t == START + 19 * STEP
        ((text, _),) = told
        assert text == (
            "no trade of BTC since 2025-06-15 16:50 UTC, by the venue's answers; the bars of"
            " BTC-5m are filled in flat: look at the venue whether the coin is halted, delisted"
            " or rarely traded"
        )
        fake.put(bar(k) for k in range(20, 60))
        while got < 40:
            await anext(bars)
            watch.look()
            got += 1
        assert [is_over for _, is_over in told] == [False, True]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        unasked = SlotTroubles()
        other = SilenceWatch(feed, unasked, venue)
        other.look()
        clock.ms += 10 * HOUR_MS
        other.look()
        assert "the daemon is behind with what it asks the venue" in unasked.of(BTC)
        feed._troubles.begin(BTC, VenueUnreachable("it does not answer"))
        watch.look()
        assert told[-1][0].endswith("UTC: it does not answer")
    keeper.close()

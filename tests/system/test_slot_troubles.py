"""One slot's trouble is its own: the other goes on, and it is told once. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles, TroubleChanged
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import CoinFails, Delisted, Fault, Refused, ShortMeta, Unlisted
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.listed_coins import ListedCoins
from daemon.service.venue_greeting import greet
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName
from tests import virtual_time
from tests.captured import capture_logs
from tests.link import Link
from tests.system.faulty_feed import NOW_MS, SLOTS, SPEED, START_MS, STEP, Run, recordings
from tests.virtual_time import InlineStore, LoopClock

BTC, ETH = SLOTS


@dataclass
class Watched:
    """A feed that looks its coins up, and what was told of the troubles of its slots."""

    run: Run
    troubles: SlotTroubles
    told: list[tuple[SlotName, TroubleChanged]]
    filled_late: list[SlotName] = field(default_factory=list)

    async def until(self, bars: float) -> None:
        await self.run.until(NOW_MS + bars * STEP)

    @property
    def alerts(self) -> list[str]:
        return [f"{slot}: {change.text}" for slot, change in self.told if not change.is_over]

    def check_others(self) -> None:
        """The healthy slot has every bar, in time."""
        assert self.run.wrong(BTC) == []
        assert self.troubles.of(BTC) == ""
        assert [line for line in self.run.logged("feed.bar_late") if line["slot"] == str(BTC)] == []

    def check_healed(self) -> None:
        """Everything is stored, the past included, and nothing is lacking any more."""
        for slot in SLOTS:
            assert self.run.outcome(slot).differences() == []
            assert self.troubles.of(slot) == ""
        assert [change.is_over for _, change in self.told] == [False, True]

    async def note_filled(self) -> None:
        async for slot in self.run.feed.filled_late():
            self.filled_late.append(slot)


def live(work: Callable[[Watched], Awaitable[None]], *faults: Fault) -> None:
    """Start as the daemon does, and run `work` beside a feed of two slots."""

    async def stage() -> None:
        clock, troubles = LoopClock(NOW_MS), SlotTroubles()
        venue, store = VenueClock(clock, SPEED), InlineStore(Store(":memory:"))
        exchange = ReplayExchange(
            recordings(), clock, speed=SPEED, start_ms=NOW_MS, faults=list(faults)
        )
        with capture_logs() as logs:
            async with (
                exchange,
                Link(exchange.url) as link,
                RestClient(exchange.url, clock, venue) as rest,
            ):
                listed = ListedCoins(Listings(rest), SLOTS, clock, venue, troubles)
                await greet(rest, listed, clock, venue, lambda _: None)
                stream = CandleStream(exchange.ws_url, clock, ())
                feed = Feed(rest, stream, store, venue, SLOTS, listed=listed, troubles=troubles)
                await feed.backfill(dict.fromkeys(SLOTS, START_MS))
                run = Run(exchange, feed, rest, store, venue, logs, link)
                watched = Watched(run, troubles, [])
                troubles.listen(lambda slot, change: watched.told.append((slot, change)))
                jobs: list[Any] = [feed.run(), run.drain(), run.keep_time(), watched.note_filled()]
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(job) for job in jobs]
                    await work(watched)
                    for task in running:
                        task.cancel()
        store.close()

    virtual_time.run(stage())


@pytest.mark.parametrize("of", ["candles", "funding", "both"])
def test_a_coin_that_rest_fails_on_is_told_of_once_and_the_other_slot_goes_on(of: Any) -> None:
    async def work(seen: Watched) -> None:
        await seen.until(3)
        assert seen.run.feed.venue_state().connected  # so the daemon is ready
        what = "funding of ETH" if of == "funding" else "candles of ETH-5m"
        assert f"the venue does not serve the {what} (status 500" in seen.troubles.of(ETH)
        await seen.until(9)
        seen.check_others()
        assert len(seen.run.emitted[ETH]) == (9 if of == "funding" else 0)
        assert len([text for text in seen.alerts if what in text]) == 1
        await seen.until(15)
        assert seen.troubles.of(ETH) == ""
        for slot in SLOTS:
            assert seen.run.outcome(slot).differences() == []
        assert seen.filled_late == [ETH]
        assert seen.run.store.store.newest_funding_time("ETH") is not None

    live(work, CoinFails(at_ms=0, for_ms=10 * STEP, coin="ETH", of=of))


def test_a_refused_subscription_is_told_of_once_and_rest_alone_brings_the_bars() -> None:
    async def work(seen: Watched) -> None:
        await seen.until(8)
        assert seen.run.feed.venue_state().connected
        (alert,) = seen.alerts
        assert alert.startswith("ETH-5m: the stream of ETH-5m is not served: the venue refuses it")
        seen.check_others()
        assert seen.run.wrong(ETH) == []
        await seen.until(16)
        seen.check_healed()

    live(work, Refused(at_ms=0, for_ms=10 * STEP, coin="ETH"))


def test_a_delisting_is_seen_within_the_hour_and_no_bar_is_made_up_after_it() -> None:
    async def work(seen: Watched) -> None:
        hour = HOUR_MS / STEP
        await seen.until(2 + hour + 1)
        (alert,) = seen.alerts
        assert alert == "ETH-5m: ETH is delisted: the venue sends no more bars; remove its slot"
        emitted = len(seen.run.emitted[ETH])
        await seen.until(19)
        assert len(seen.run.emitted[ETH]) == emitted
        assert len(seen.alerts) == 1
        seen.check_others()
        await seen.until(24)  # it is listed again: what was missed is fetched
        seen.check_healed()
        assert seen.run.outcome(ETH).disorder() == []

    live(work, Delisted(at_ms=2 * STEP, for_ms=18 * STEP, coin="ETH"))


def test_a_coin_that_appears_later_begins_by_itself_with_its_past() -> None:
    async def work(seen: Watched) -> None:
        await seen.until(5)
        assert seen.alerts == ["ETH-5m: the venue has no perp 'ETH'; names are case-sensitive"]
        seen.check_others()
        await seen.until(16)
        seen.check_healed()
        assert seen.filled_late == [ETH]
        assert seen.run.logged("feed.stream_lost") == []

    live(work, ShortMeta(at_ms=0, for_ms=10 * STEP, coin="ETH"))


def test_a_coin_that_becomes_unknown_costs_the_others_one_socket() -> None:
    async def work(seen: Watched) -> None:
        await seen.until(10)
        assert seen.run.feed.venue_state().connected
        name = "the venue has no perp 'ETH'; names are case-sensitive"
        assert seen.troubles.of(ETH) == name
        assert [text for text in seen.alerts if "not serve the candles" not in text] == [
            f"ETH-5m: {name}"
        ]
        assert len(seen.run.logged("feed.stream_lost")) == 1
        seen.check_others()
        await seen.until(20)
        for slot in SLOTS:
            assert seen.run.outcome(slot).differences() == []
            assert seen.troubles.of(slot) == ""

    live(
        work,
        Unlisted(at_ms=STEP, for_ms=12 * STEP, coin="ETH"),
        Refused(at_ms=2 * STEP, for_ms=1000, coin="BTC"),  # every socket ends once
    )


def test_a_list_that_is_short_for_long_stops_no_slot_whose_bars_come() -> None:
    async def work(seen: Watched) -> None:
        await seen.until(25)
        assert seen.alerts == []
        assert [line["coin"] for line in seen.run.logged("venue.coin_missing")] == ["ETH"]
        assert seen.run.wrong(ETH) == []
        seen.check_others()

    live(work, ShortMeta(at_ms=STEP, for_ms=40 * STEP, coin="ETH"))

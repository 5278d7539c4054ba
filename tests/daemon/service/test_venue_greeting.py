"""A start meets the replay exchange on its bad days, in virtual time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Delisted, Fault, HttpError, ShortMeta
from daemon.demo.market import generate
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.listed_coins import ListedCoins
from daemon.service.venue_greeting import GREETING, greet, require_coins
from daemon.store.store import Store
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from tests import virtual_time
from tests.captured import capture_logs
from tests.virtual_time import InlineStore, LoopClock

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")
STEP = BTC.interval_ms
BEGIN_MS = 1_750_000_200_000
MARKETS = [generate(40, STEP, 3, start_ms=BEGIN_MS, coin=slot.coin) for slot in (BTC, ETH)]
NOW_MS = BEGIN_MS + 20 * STEP
BAD_MS = 90_000


@dataclass
class Start:
    """What a start said, and what it knew when it went on."""

    said: list[str] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    took_s: float = 0.0
    coins: Collection[str] = ()
    mistake: str = ""
    troubles: dict[SlotName, str] = field(default_factory=dict)

    def lines(self, event: str) -> list[Any]:
        return [line for line in self.logs if line["event"] == event]


def start(slots: Sequence[SlotName], *faults: Fault, stored: Collection[SlotName] = ()) -> Start:
    """Greet the venue; `stored` are the slots of which the store has bars."""

    async def stage() -> Start:
        clock, met = LoopClock(NOW_MS), Start()
        venue, store, troubles = VenueClock(clock), InlineStore(Store(":memory:")), SlotTroubles()
        for slot in stored:
            bar = Bar(BEGIN_MS, 1.0, 1.0, 1.0, 1.0, 1.0)
            store.store.put_bars(slot, [bar], Provenance.REST)
        exchange = ReplayExchange(MARKETS, clock, speed=1, start_ms=NOW_MS, faults=faults)
        with capture_logs() as met.logs:
            async with exchange, RestClient(exchange.url, clock, venue) as rest:
                listed = ListedCoins(Listings(rest), slots, clock, venue, troubles)
                began = clock.monotonic()
                await greet(rest, listed, clock, venue, met.said.append)
                met.took_s = clock.monotonic() - began
                met.coins = listed.coins
                try:
                    await require_coins(listed, store, slots)
                except ConfigError as e:
                    met.mistake = str(e)
        met.troubles = {slot: troubles.of(slot) for slot in slots}
        return met

    return virtual_time.run(stage())


@pytest.mark.parametrize("body", ["html", "text", "null"])
@pytest.mark.parametrize("status", [200, 403, 404, 422, 429, 451, 500, 502])
def test_whatever_is_answered_instead_of_the_venue_a_start_waits_says_so_and_goes_on(
    status: int, body: Any
) -> None:
    met = start([BTC], HttpError(at_ms=0, for_ms=BAD_MS, status=status, body=body))
    assert met.coins == {"BTC"}
    assert met.mistake == ""
    assert BAD_MS / 1000 <= met.took_s < BAD_MS / 1000 + 65
    (line,) = met.lines("venue.unreachable")
    assert "the start waits" in line["outcome"]
    assert f"status {status}" in line["why"] or (status, body) == (200, "text")
    assert met.said[0] == GREETING
    assert met.said[1] == f"{GREETING}: {line['why']}"
    assert "\n" not in line["why"]
    assert len(met.lines("venue.answers")) == 1


@pytest.mark.parametrize("how", ["short", "empty", "null"])
def test_a_list_of_coins_that_is_short_or_empty_is_waited_out(how: Any) -> None:
    met = start([BTC, ETH], ShortMeta(at_ms=0, for_ms=40_000, how=how))
    assert met.coins == {"BTC", "ETH"}
    assert met.troubles == {BTC: "", ETH: ""}
    assert len(met.lines("venue.unreachable") + met.lines("venue.coin_missing")) in {1, 2}
    assert met.said[1].startswith(GREETING)


def test_a_coin_that_is_missing_from_the_list_holds_up_no_other() -> None:
    met = start([BTC, ETH], ShortMeta(at_ms=0, for_ms=BAD_MS, coin="ETH"))
    assert met.took_s < 1
    assert met.coins == {"BTC"}
    assert met.troubles == {BTC: "", ETH: ""}  # a second answer has to say so too
    assert [line["coin"] for line in met.lines("venue.coin_missing")] == ["ETH"]


def test_names_that_are_all_wrong_are_a_mistake_after_two_answers_a_minute_apart() -> None:
    met = start([SlotName("btc", "5m"), SlotName("QQQ", "5m"), SlotName("@107", "5m")])
    assert 60 <= met.took_s < 80
    assert met.mistake.startswith("[[slots]] @107 is a spot market")
    assert "the venue has no perp 'btc'; did you mean BTC?" in met.mistake
    assert "the venue has no perp 'QQQ'" in met.mistake


def test_a_coin_that_the_venue_served_before_is_no_mistake_of_the_configuration() -> None:
    for fault in (ShortMeta(at_ms=0, for_ms=10**7), Delisted(at_ms=0, for_ms=10**7)):
        met = start([BTC], fault, stored=[BTC])
        assert met.mistake == ""
        assert met.coins == set()
        assert "BTC" in met.troubles[BTC]
    delisted = start([BTC], Delisted(at_ms=0, for_ms=10**7))
    assert delisted.mistake == (
        "[[slots]] BTC is delisted: the venue sends no more bars; remove its slot"
    )

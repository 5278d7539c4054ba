"""What is wrong with a coin's name, against a venue with two dexes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from daemon.core.clock import VenueClock
from daemon.core.errors import SchemaChanged, VenueUnreachable
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from tests.daemon.fake_venue import FakeVenue, serving
from tests.fakes import FakeClock

METAS: dict[str, list[dict[str, Any]]] = {
    "": [{"name": "BTC"}, {"name": "kPEPE"}, {"name": "TIA"}, {"name": "OLD", "isDelisted": True}],
    "xyz": [{"name": "xyz:TSLA"}, {"name": "xyz:GONE", "isDelisted": True}],
}


class Dexes(FakeVenue):
    """A venue with builders' dexes; `broken` is what one of them answers."""

    broken: Any = None

    def data(self, body: dict[str, Any]) -> Any:
        if body["type"] == "perpDexs":
            return [None, {"name": "xyz", "fullName": "XYZ"}, {"name": "flx"}]
        if body["type"] == "meta":
            return {"universe": METAS[body["dex"]]} if body.get("dex") in METAS else self.main()
        return super().data(body)

    def main(self) -> Any:
        return {"universe": METAS[""]} if self.broken is None else self.broken


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[Dexes, Listings]]:
    clock = FakeClock()
    venue = Dexes(clock.now_ms)
    async with serving(venue), RestClient(venue.url, clock, VenueClock(clock)) as rest:
        yield venue, Listings(rest)


@pytest.mark.parametrize(
    ("coin", "kind", "text"),
    [
        ("btc", "unknown", "the venue has no perp 'btc'; did you mean BTC?"),
        ("KPEPE", "unknown", "the venue has no perp 'KPEPE'; did you mean kPEPE?"),
        ("BTC-PERP", "unknown", "the venue has no perp 'BTC-PERP'; did you mean BTC?"),
        ("TSLA", "unknown", "the venue has no perp 'TSLA'; did you mean xyz:TSLA?"),
        ("QQQ", "unknown", "the venue has no perp 'QQQ'; names are case-sensitive"),
        ("OLD", "delisted", "OLD is delisted: the venue sends no more bars; remove its slot"),
        ("xyz:GONE", "delisted", None),
        ("xyz:tsla", "unknown", "the venue has no perp 'xyz:tsla'; did you mean xyz:TSLA?"),
        ("XYZ:TSLA", "unknown", None),
        ("QQQ:TSLA", "unknown", "the venue has no dex 'QQQ' for coin 'QQQ:TSLA'; it has xyz, flx"),
        ("@107", "spot", "@107 is a spot market, and spot is not followed; write the name of"),
        ("PURR/USDC", "spot", None),
    ],
)
async def test_a_name_that_cannot_be_followed_is_one_line_with_what_was_meant(
    coin: str, kind: str, text: str | None
) -> None:
    lines = {
        "XYZ:TSLA": "the venue has no dex 'XYZ' for coin 'XYZ:TSLA'; did you mean xyz:TSLA?",
        "xyz:GONE": "xyz:GONE is delisted",
        "PURR/USDC": "write the name of a perp, for example PURR",
    }
    async with asking() as (venue, listings):
        found = await listings.faults(["BTC", "xyz:TSLA", coin])
        assert list(found) == [coin]
        assert found[coin].kind == kind
        assert (text or lines[coin]) in found[coin].text
        before = len(venue.requests)
        assert await listings.faults([coin]) == found
        assert len(venue.requests) - before <= 2  # the suggestion is not looked for again


@pytest.mark.parametrize("answer", [{"universe": []}, {"universe": None}, {"coins": []}, []])
async def test_a_list_without_coins_is_no_answer(answer: Any) -> None:
    async with asking() as (venue, listings):
        venue.broken = answer
        with pytest.raises(SchemaChanged, match="meta"):
            await listings.faults(["BTC"])
        found = await listings.faults(["BTC", "xyz:TSLA"])  # the other dex answered
        assert [(coin, fault.kind) for coin, fault in found.items()] == [("BTC", "unasked")]


async def test_null_instead_of_a_list_is_a_venue_that_is_away() -> None:
    async with asking() as (venue, listings):
        venue.faults.extend([(200, "null")] * 5)
        with pytest.raises(VenueUnreachable):
            await listings.faults(["BTC"])


async def test_an_odd_row_of_another_coin_costs_that_row_alone() -> None:
    async with asking() as (venue, listings):
        venue.broken = {"universe": [{"name": None}, 7, *METAS[""], {"szDecimals": 3}]}
        assert await listings.faults(["BTC"]) == {}

"""What stops the bars of one slot is told when it begins and when it is over, outages once."""

from daemon.core.errors import CoinUnserved, VenueUnreachable
from daemon.core.slot_troubles import SlotTroubles
from daemon.market_data.feed_troubles import Troubles
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")
CANDLES = CoinUnserved("the candles of ETH-5m", "status 500")
FUNDING = CoinUnserved("the funding of ETH", "status 500")


def test_a_past_that_lacks_one_thing_after_the_other_leaves_no_trouble_behind() -> None:
    of_slots, told = SlotTroubles(), []
    of_slots.listen(lambda _, change: told.append((change.kind, change.is_over)))
    troubles = Troubles(of_slots)
    troubles.begin(ETH, CANDLES, "past")
    troubles.begin(ETH, FUNDING, "past")  # the candles came
    troubles.end(ETH, "past")
    assert of_slots.of(ETH) == ""
    assert told == [
        (CANDLES.what, False),
        (CANDLES.what, True),
        (FUNDING.what, False),
        (FUNDING.what, True),
    ]


def test_an_outage_is_over_for_all_though_one_coin_stays_unserved_and_the_next_is_told() -> None:
    troubles, away = Troubles(), VenueUnreachable("it does not answer")
    with capture_logs() as logs:
        for slot in (BTC, ETH):
            troubles.begin(slot, away)
        troubles.begin(ETH, CANDLES)
        troubles.end(BTC)
        troubles.begin(BTC, away)
    events = [line["event"] for line in logs]
    assert events == ["feed.trouble", "feed.recovered", "feed.trouble"]

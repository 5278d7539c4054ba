from daemon.core.slot_troubles import SlotTroubles, TroubleChanged
from hyperdrift.slot_name import SlotName

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")


def test_a_trouble_is_told_when_it_begins_and_when_it_is_over_however_often_it_is_noticed() -> None:
    troubles, told = SlotTroubles(), []
    troubles.listen(lambda slot, change: told.append((slot, change)))
    for text in ("no candles", "no candles, 3 times"):
        troubles.begin(BTC, "candles", text)
    assert troubles.of(BTC) == "no candles, 3 times"
    assert troubles.of(ETH) == ""
    for _ in range(2):
        troubles.end(BTC, "candles")
    assert told == [
        (BTC, TroubleChanged("no candles", kind="candles")),
        (BTC, TroubleChanged("no candles, 3 times", is_over=True, kind="candles")),
    ]
    assert troubles.of(BTC) == ""


def test_what_was_noted_before_anybody_listens_is_told_too() -> None:
    troubles, told = SlotTroubles(), []
    troubles.begin(BTC, "coin", "it is delisted")
    troubles.begin(BTC, "silence", "no bar for an hour")
    troubles.listen(lambda slot, change: told.append((slot, change.text)))
    assert told == [(BTC, "it is delisted"), (BTC, "no bar for an hour")]
    assert troubles.of(BTC) == "it is delisted; no bar for an hour"


def test_a_removed_slot_is_forgotten_and_what_was_told_of_it_is_over() -> None:
    troubles, told = SlotTroubles(), list[SlotName]()
    troubles.begin(BTC, "coin", "BTC is delisted")
    troubles.begin(ETH, "coin", "ETH is delisted")
    assert troubles.drop(BTC) == [TroubleChanged("BTC is delisted", is_over=True, kind="coin")]
    assert troubles.of(BTC) == ""
    troubles.listen(lambda slot, _change: told.append(slot))
    assert told == [ETH]

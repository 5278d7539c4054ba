"""Names of markets as people's files have them mean one coin of ours, or none."""

import pytest

from daemon.core.coin_names import coin_meant, is_spot, slots_meant
from hyperdrift.slot_name import SlotName

COINS = ("BTC", "ETH", "kPEPE", "xyz:TSLA", "SOL", "USUAL")
BTC, BTC_1H, ETH = SlotName("BTC", "5m"), SlotName("BTC", "1h"), SlotName("ETH", "5m")


@pytest.mark.parametrize(
    ("coin", "names"),
    [
        ("BTC", "BTC btc BTC/USDC:USDC BTC/USDT BTC/USDT:USDT BTC/USD BTC-PERP BTCUSDT BTC_USDC"),
        ("BTC", "BTC_USDC_USDC BTC-USD-PERP BTC-USDT-SWAP BTCUSDT.P BTCUSD_PERP BTCPERP"),
        ("BTC", "HYPERLIQUID:BTCUSDC.P BTC-USD-PERP.HYPERLIQUID btcusdc BTCUSD BTCUSDTPERP"),
        ("kPEPE", "kPEPE KPEPE/USDC:USDC kpepe kPEPE-PERP 1000PEPEUSDT 1000PEPE/USDT:USDT"),
        ("xyz:TSLA", "xyz:TSLA XYZ:TSLA XYZ-TSLA/USDC:USDC xyz-tsla XYZ-TSLA/USDH:USDH"),
        ("USUAL", "USUAL USUALUSDT usual/usdc:usdc"),
    ],
)
def test_a_coin_is_known_by_the_names_of_its_market(coin: str, names: str) -> None:
    assert {name: coin_meant(name, COINS) for name in names.split()} == dict.fromkeys(
        names.split(), coin
    )


@pytest.mark.parametrize(
    "name",
    [
        *("ETH/BTC", "BTC/EUR", "BTC/USDC:BTC", "BTC/USDC:USDC-260327", "BTC-27MAR26", "UBTC"),
        *("WBTCUSDT", "PEPE", "PEPEUSDT", "TSLA", "flx:TSLA", "@107", "", "USDT", "BTCDOM", "/"),
        *("BTCB", "BTC2", "SOLV", "ETHW/USDT", "USDC", "-", "-PERP", "/USDC", "x" * 10_000),
    ],
)
def test_another_market_is_taken_for_none_of_ours(name: str) -> None:
    assert coin_meant(name, COINS) is None


def test_a_name_that_may_be_two_coins_is_taken_for_neither() -> None:
    assert coin_meant("btc", ("BTC", "Btc")) is None
    assert coin_meant("Btc", ("BTC", "Btc")) == "Btc"


def test_of_two_intervals_the_row_must_say_which() -> None:
    slots = (BTC, BTC_1H, ETH)
    assert slots_meant(slots, coin="BTC/USDC:USDC") == [BTC, BTC_1H]
    assert slots_meant(slots, coin="btc", interval="60") == [BTC_1H]
    assert slots_meant(slots, coin="BTC-PERP", interval="5m") == [BTC]
    assert slots_meant(slots, slot="btc-1h") == [BTC_1H]
    assert slots_meant(slots, slot="BTC/USDC:USDC-5m") == [BTC]
    assert slots_meant(slots, coin="ETHUSDT") == [ETH]
    assert slots_meant(slots, interval="1H") == [BTC_1H]
    assert slots_meant(slots, coin="SOL") == slots_meant(slots, slot="SOL-5m") == []
    assert slots_meant(slots, slot="ETH-PERP") == slots_meant(slots, slot="ETH") == [ETH]
    assert slots_meant((BTC,)) == [BTC]
    assert slots_meant((BTC,), interval="9" * 5000) == slots_meant((BTC,), interval="²") == []
    assert slots_meant((SlotName("BTC", "1d"),), coin="BTC", interval="24h") != []


def test_the_venues_names_of_spot_markets_are_told_apart() -> None:
    assert [is_spot(name) for name in ("@107", "PURR/USDC", "BTC", "xyz:TSLA")] == [
        *(True, True, False, False)
    ]

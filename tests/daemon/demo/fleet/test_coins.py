import numpy as np
import pytest

from daemon.demo.fleet.coins import coin_name, generate_coins
from daemon.demo.market import generate
from hyperdrift.errors import BadInput
from tests.daemon.demo.markets import MINUTES_5, START_MS

BARS = 4000
COINS = generate_coins(9, BARS, MINUTES_5, 5, start_ms=START_MS)


def returns(place: int) -> np.ndarray:
    return np.diff(np.log(COINS[place].close))


def test_every_coin_has_its_own_name_and_price() -> None:
    assert len({coin.coin for coin in COINS}) == len(COINS)
    assert [coin_name(7), coin_name(8)] == ["LINK", "C9"]
    first = [float(coin.open[0]) for coin in COINS]
    assert max(first) > 10_000 * min(first)


def test_coins_move_together_but_none_is_another() -> None:
    for place in range(1, len(COINS)):
        assert 0.3 < np.corrcoef(returns(0), returns(place))[0, 1] < 0.9


def test_each_coin_is_traded_for_less_than_the_one_before_it() -> None:
    traded = [float((coin.volume * coin.close).sum()) for coin in COINS]
    assert traded == sorted(traded, reverse=True)


def test_a_price_has_five_figures_and_is_written_short() -> None:
    for coin in COINS:
        texts = [f"{price:.5g}" for price in coin.close[:500]]
        assert [float(text) for text in texts] == coin.close[:500].tolist()


def test_the_whole_market_changes_at_one_bar() -> None:
    changed = generate_coins(3, BARS, MINUTES_5, 5, start_ms=START_MS, change_at=3000)
    for coin, before in zip(changed, COINS, strict=False):
        assert np.array_equal(coin.close[:3000], before.close[:3000])
        later = np.diff(np.log(coin.close[3000:])).std()
        assert later > 1.2 * np.diff(np.log(before.close[3000:])).std()


def test_a_market_that_does_not_turn_moves_as_before_and_is_traded_otherwise() -> None:
    changed = generate_coins(3, BARS, MINUTES_5, 5, start_ms=START_MS, change_at=3000, turns=False)
    for coin, before in zip(changed, COINS, strict=False):
        assert np.array_equal(coin.close, before.close)
        assert np.array_equal(coin.volume[:3000], before.volume[:3000])
        assert np.median(coin.volume[3000:]) > 1.5 * np.median(before.volume[3000:])


def test_a_market_alone_is_what_it_was_before_there_were_several() -> None:
    alone = generate(500, MINUTES_5, 7, start_ms=START_MS)
    silent = generate(500, MINUTES_5, 7, start_ms=START_MS, shared=(0.0, np.zeros(500)))
    assert np.array_equal(alone.close, silent.close)


@pytest.mark.parametrize("coins", [0, -1, 201])
def test_a_number_of_coins_that_makes_no_sense_is_refused(coins: int) -> None:
    with pytest.raises(BadInput, match="write a number from 1 to 200"):
        generate_coins(coins, 10, MINUTES_5, 1, start_ms=START_MS)

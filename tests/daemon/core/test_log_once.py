from daemon.core.log_once import LogOnce


def test_only_the_first_sign_of_a_trouble_is_logged_until_it_is_over() -> None:
    once = LogOnce()
    assert [once.begins() for _ in range(3)] == [True, False, False]
    assert once.ends() == 3
    assert once.begins()


def test_an_end_without_a_beginning_is_not_logged() -> None:
    once = LogOnce()
    assert not once.ends()
    assert once.begins()
    assert once.ends()
    assert not once.ends()


def test_each_key_has_a_trouble_of_its_own() -> None:
    once = LogOnce()
    assert once.begins("BTC")
    assert once.begins("ETH")
    assert not once.begins("BTC")
    assert once.ends("BTC") == 2
    assert [once.lasts(coin) for coin in ("BTC", "ETH", "SOL")] == [False, True, False]

from functools import partial

from daemon.market_data.price_checks import PriceChecks, log_price, plausible
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, START, STEP, bar

ABSURD = bar(1, close=100_000.0)
MINUTE = 60_000


def first(doubts: PriceChecks, now_ms: int, *rows, close: float | None = 100.0, shown=None):
    return doubts.first(rows, close, now_ms, shown)


def test_prices_near_the_last_close_are_believed_and_so_is_the_first_bar_ever() -> None:
    doubts = PriceChecks(partial(log_price, BTC))
    assert first(doubts, 0, bar(0), bar(1, close=450.0), bar(2, close=300.0)) is None
    assert first(doubts, 0, ABSURD, close=None) is None
    assert doubts.refused == 0
    assert not plausible(ABSURD, 100.0)
    assert not plausible(bar(1, close=1.0), 100.0)


def test_an_absurd_price_is_believed_when_rest_repeats_it_a_minute_later() -> None:
    doubts = PriceChecks(partial(log_price, BTC))
    with capture_logs() as logs:
        assert first(doubts, 0, bar(0), ABSURD) == START + STEP
        assert first(doubts, MINUTE - 1, bar(0), ABSURD) == START + STEP
        assert first(doubts, MINUTE, bar(0), ABSURD) is None
    assert [log["event"] for log in logs] == ["feed.price_doubted", "feed.price_believed"]
    assert doubts.refused == 1


def test_an_absurd_price_that_changes_begins_its_minute_again() -> None:
    doubts = PriceChecks(partial(log_price, BTC))
    assert first(doubts, 0, ABSURD) == START + STEP
    assert first(doubts, MINUTE, bar(1, close=9_000.0)) == START + STEP
    assert first(doubts, MINUTE + 1, ABSURD) == START + STEP
    assert first(doubts, MINUTE + 2, bar(1)) is None  # it was somebody's fault
    assert doubts.refused == 3


def test_an_absurd_price_is_believed_at_once_if_both_ways_say_it() -> None:
    doubts = PriceChecks(partial(log_price, BTC))
    assert first(doubts, 0, ABSURD, shown=bar(1)) == START + STEP
    assert first(doubts, 0, ABSURD, shown=bar(1, close=99_000.0)) is None


def test_what_follows_a_believed_price_is_measured_by_it() -> None:
    doubts = PriceChecks(partial(log_price, BTC))
    later = bar(2, close=101.0)
    assert first(doubts, 0, ABSURD, later) == START + STEP
    assert first(doubts, MINUTE, ABSURD, later) == START + 2 * STEP

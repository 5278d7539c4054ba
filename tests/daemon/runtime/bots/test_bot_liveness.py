from daemon.runtime.bots.bot_liveness import SILENT_BARS, BotLiveness
from monitor.events import BotFellSilent, BotSpoke

STEP = 300_000


def bars(vigil: BotLiveness, first: int, count: int, *, counts: bool = True) -> list[BotFellSilent]:
    """Let bars close, each at its number times the interval."""
    closes = [number * STEP for number in range(first, first + count)]
    return [fell for close_ms in closes for fell in vigil.closed(close_ms, counts=counts)]


def talking() -> BotLiveness:
    """Return the vigil of a bot that predicted a second after time 0."""
    vigil = BotLiveness("BTC-5m")
    vigil.seen("b", online=True)
    assert vigil.predicted(1000) == [BotSpoke(slot="BTC-5m", at_ms=1000, bot_id="b")]
    return vigil


def test_three_bars_without_a_prediction_are_told_of_once_when_the_third_is_over() -> None:
    vigil = talking()
    assert bars(vigil, 1, SILENT_BARS) == []
    silent = BotFellSilent(slot="BTC-5m", at_ms=4 * STEP, bot_id="b", since_ms=1000, bars=3)
    assert bars(vigil, 4, 100) == [silent]


def test_on_a_fast_replay_a_silence_must_last_longer_too() -> None:
    vigil = BotLiveness("BTC-5m", patience_ms=10 * STEP)
    vigil.seen("b", online=True)
    vigil.predicted(0)
    assert bars(vigil, 1, 9) == []
    (fell,) = bars(vigil, 10, 5)
    assert (fell.at_ms, fell.bars) == (10 * STEP, 9)


def test_a_bot_that_answers_late_or_every_third_bar_is_not_silent() -> None:
    vigil = talking()
    for number in range(1, 60, SILENT_BARS):
        assert bars(vigil, number, SILENT_BARS) == []
        assert vigil.predicted(number * STEP) == []


def test_when_it_predicts_again_that_is_news_once_and_it_is_listened_for_anew() -> None:
    vigil = talking()
    bars(vigil, 1, 10)
    (spoke,) = vigil.predicted(11 * STEP)
    assert (spoke.bot_id, spoke.silent_since_ms) == ("b", 1000)
    assert vigil.predicted(11 * STEP + 1) == []
    assert len(bars(vigil, 12, 10)) == 1


def test_a_bot_that_never_predicted_is_gone_or_is_another_one_is_not_listened_for() -> None:
    vigil = BotLiveness("BTC-5m")
    assert bars(vigil, 0, 10) == []
    vigil.seen("b", online=True)
    assert bars(vigil, 0, 10) == []
    for news in (("b", False), ("c", True)):
        vigil = talking()
        vigil.seen(news[0], online=news[1])
        assert bars(vigil, 1, 10) == []
    vigil.seen("b", online=True)  # back, and known to speak: it has time from now on
    assert bars(vigil, 11, SILENT_BARS) == []
    assert len(bars(vigil, 14, 1)) == 1


def test_a_prediction_of_nobody_who_is_there_is_no_news() -> None:
    vigil = BotLiveness("BTC-5m")
    assert vigil.predicted(1) == []
    vigil.seen("b", online=True)
    assert bars(vigil, 1, 10) == []


def test_bars_that_come_late_or_while_the_broker_is_away_begin_the_count_anew() -> None:
    vigil = talking()
    assert bars(vigil, 1, SILENT_BARS) == []
    assert bars(vigil, 4, 20, counts=False) == []
    assert bars(vigil, 24, SILENT_BARS) == []
    assert len(bars(vigil, 27, 1)) == 1


def test_after_a_restart_it_goes_on_without_a_false_alarm_and_without_a_second_one() -> None:
    vigil = BotLiveness("BTC-5m")
    vigil.recall("b", None)
    assert bars(vigil, 0, 10) == []  # nobody is there yet
    vigil.seen("b", online=True)
    (fell,) = bars(vigil, 10, 20)
    assert (fell.since_ms, fell.at_ms) == (10 * STEP, 13 * STEP)
    again = BotLiveness("BTC-5m")
    again.recall("b", fell.since_ms)
    again.seen("b", online=True)
    assert bars(again, 30, 20) == []
    (spoke,) = again.predicted(50 * STEP)
    assert spoke.silent_since_ms == fell.since_ms

"""Several bots on a slot: each is listened for by its own name."""

from daemon.registry.bot_compatibility import BotCompatibility
from daemon.runtime.bots.bot_watch import BotWatch
from daemon.runtime.inbox import BotPrediction
from hyperdrift.mqtt.messages import BotPresence
from monitor.events import BarScored, BotFellSilent, BotSpoke, Event

STEP = 300_000


def watch() -> BotWatch:
    made = BotWatch("BTC-5m", BotCompatibility(), lambda: False)
    for bot_id in ("a", "b"):
        made.seen(BotPresence(online=True, bot_id=bot_id), 0)
    return made


def bar(made: BotWatch, number: int) -> list[Event]:
    scored = BarScored(
        slot="BTC-5m", at_ms=number * STEP, t=(number - 1) * STEP, close=1.0, row=(0.0,) * 17
    )
    return made.scored(scored, counts=True)


def test_the_one_of_two_bots_that_falls_silent_is_told_of_by_name() -> None:
    made = watch()
    found: list[Event] = []
    for number in range(1, 8):
        made.predicted(BotPrediction(number, None, number * STEP, "a"))
        if number == 1:
            made.predicted(BotPrediction(number, None, number * STEP, "b"))
        found += bar(made, number)
    assert [(type(each), getattr(each, "bot_id", "")) for each in found] == [(BotFellSilent, "b")]
    (spoke,) = made.predicted(BotPrediction(9, None, 9 * STEP, "b"))
    assert isinstance(spoke, BotSpoke)
    assert (spoke.bot_id, spoke.silent_since_ms) == ("b", STEP)


def test_a_prediction_without_a_name_may_be_of_any_bot_and_accuses_none() -> None:
    made = watch()
    first = made.predicted(BotPrediction(0, None, 1))
    assert [(each.bot_id) for each in first if isinstance(each, BotSpoke)] == ["a", "b"]
    for number in range(1, 10):
        assert made.predicted(BotPrediction(number, None, number * STEP)) == []
        assert bar(made, number) == []
    assert made.predicted(BotPrediction(9, None, 9, "nobody knows it")) == []

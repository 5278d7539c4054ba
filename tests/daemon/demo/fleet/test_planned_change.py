"""The market of several coins changes when their first models are judged, not at a fixed bar."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from daemon.demo.exchange import ReplayExchange
from daemon.demo.fleet.planned_change import WATCHED_BARS, PlannedChange
from daemon.demo.setup import FLEET_HISTORY_BARS, START_MS, DemoSetup, Options, make_up_fleet
from tests.fakes import FakeClock

STEP, SPEED = 300_000, 1200


class Play:
    """An exchange of two coins on a clock that stands until it is moved, and the fleet's state."""

    def __init__(self) -> None:
        calm = make_up_fleet(2, change_at=1 << 40)
        first_t = START_MS + FLEET_HISTORY_BARS * STEP
        self.clock, self.judged = FakeClock(), False
        self.told: list[str] = []
        setup: Any = SimpleNamespace(
            options=Options(coins=2),
            recordings=calm,
            first_t=first_t,
            past_bars=FLEET_HISTORY_BARS,
            market_waits=True,
        )
        fleet: Any = SimpleNamespace(first_models_are_done=lambda: self.judged)
        screen: Any = SimpleNamespace(tell=self.told.append)
        self.exchange = ReplayExchange(calm, self.clock, speed=SPEED, start_ms=first_t)
        self.change = PlannedChange(setup, fleet, self.exchange, screen)


async def test_the_market_goes_on_as_it_was_until_the_last_first_model_is_judged() -> None:
    play = Play()
    calm = play.exchange.recordings
    play.clock.ms += 100 * STEP // SPEED
    await play.change.consider()
    assert play.exchange.recordings is calm
    assert play.change.after is None
    play.judged = True
    await play.change.consider()
    assert play.change.after == 100 + WATCHED_BARS
    at = FLEET_HISTORY_BARS + 100 + WATCHED_BARS
    for before, after in zip(calm, play.exchange.recordings, strict=True):
        for name in ("t", "open", "high", "low", "close", "volume", "n"):
            was, now = getattr(before, name), getattr(after, name)
            assert np.array_equal(was[:at], now[:at]), name
        assert np.median(after.volume[at:]) > 1.5 * np.median(before.volume[at:])
        known = before.funding_t < before.t[at]
        assert np.array_equal(before.funding_rate[known], after.funding_rate[known])
    changed = play.exchange.recordings
    await play.change.consider()
    assert play.exchange.recordings is changed, "it changes once"
    assert play.told == ["   market  changes for all coins at bar 130"]


def test_a_coin_alone_changes_at_a_bar_that_is_known_before() -> None:
    setup = DemoSetup.__new__(DemoSetup)
    object.__setattr__(setup, "options", Options())
    assert setup.change_after == 400
    assert not setup.market_waits

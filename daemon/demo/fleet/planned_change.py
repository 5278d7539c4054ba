"""Let the made-up market of several coins change once every slot has had its first model judged.

How long first models take depends on the host. One that has learnt from both regimes is refused,
so a market that changed at a fixed bar would spoil the demo of a slow or busy host.
"""

import asyncio
from typing import Final

from daemon.demo.exchange import ReplayExchange
from daemon.demo.fleet.cycle import FleetLog
from daemon.demo.screen import Screen
from daemon.demo.setup import DemoSetup, make_up_fleet

WATCHED_BARS: Final = 30
"""Bars between the last first model and the change; the bots answer meanwhile."""


class PlannedChange:
    """Changes the market that an exchange replays, for all coins at once.

    A recording or a coin alone is replayed as it is.

    Attributes:
        after: Bars from the start of the exchange to the change; None until it is known.
    """

    def __init__(
        self, setup: DemoSetup, fleet: FleetLog, exchange: ReplayExchange, screen: Screen
    ) -> None:
        self._setup, self._fleet = setup, fleet
        self._exchange, self._screen = exchange, screen
        self.after: int | None = None if setup.market_waits else setup.change_after

    async def consider(self) -> None:
        """Make the rest of the market again, with the change, if it is time."""
        if self.after is not None or not self._fleet.first_models_are_done():
            return
        coins, after = self._setup.options.coins, self._bar() + WATCHED_BARS
        at = self._setup.past_bars + after
        changed = await asyncio.to_thread(make_up_fleet, coins, at)
        if self._bar() >= after:  # the host stood still meanwhile, and what was sent is sent
            return
        self._exchange.replace_recordings(changed)
        self.after = after
        self._screen.tell(f"{'market':>9}  changes for all coins at bar {after}")

    def _bar(self) -> int:
        """Return the number of the forming bar since the exchange began."""
        interval_ms = self._setup.recordings[0].interval_ms
        return (self._exchange.now_ms() - self._setup.first_t) // interval_ms

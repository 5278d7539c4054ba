"""Observe a slot's bots: who they are, whether they predict, and with which features.

Only the slot's own loop calls this, in the order of its inbox.
"""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.registry.bot_compatibility import BotCompatibility
from daemon.runtime.bots.bot_liveness import BotLiveness
from daemon.runtime.inbox import BotPrediction
from daemon.scoring.bot_feature_check import KEPT_BARS, BotFeatureCheck, Compared
from hyperdrift.mqtt.messages import BotPresence
from monitor import events
from monitor.bots import KNOWN_BOTS, silence
from monitor.state import EngineSnapshot
from retrain import features

log = structlog.get_logger()

# A bot on a busy machine may be late by so many wall seconds before it counts as silent.
_BUSY_S: Final = 2.0


class BotWatch:
    """Turns what a bot does into events.

    Args:
        slot: The bot's slot, as `BTC-5m`.
        compatibility: Knows which bots can load a model that a retrain saves.
        mismatched: Returns whether the engine has a feature mismatch of the bot.
        speed: Venue seconds per wall second.
    """

    def __init__(
        self,
        slot: str,
        compatibility: BotCompatibility,
        mismatched: Callable[[], bool],
        speed: float = 1.0,
    ) -> None:
        self._slot, self._compatibility, self._mismatched = slot, compatibility, mismatched
        self._features = BotFeatureCheck(slot, features.NAMES)
        self._patience_ms = _BUSY_S * 1000 * speed
        self._online: dict[str, bool] = {}
        self._vigils: dict[str, BotLiveness] = {}

    def recall(self, was: EngineSnapshot, bars: list[events.BarScored]) -> None:
        """Continue after a restart.

        Args:
            was: The state of the rebuilt engine.
            bars: The bars that it has handled, oldest first.
        """
        for bot_id, silent_ms in was.speakers.items():
            self._vigil(bot_id).recall(bot_id, silent_ms)
        for bar in bars[-KEPT_BARS:]:
            self._features.scored(bar.t, bar.row, bar.at_ms)

    def seen(self, bot: BotPresence, at_ms: int) -> events.BotSeen:
        """Take a bot's presence, online or not; return it as an event at `at_ms`, ms UTC."""
        self._vigil(bot.bot_id).seen(bot.bot_id, online=bot.online)
        self._online[bot.bot_id] = bot.online
        return events.BotSeen(
            slot=self._slot,
            at_ms=at_ms,
            bot_id=bot.bot_id,
            online=bot.online,
            sklearn=bot.sklearn,
            fault=self._compatibility.fault(bot),
        )

    def predicted(self, made: BotPrediction) -> list[events.Event]:
        """Take a prediction; return the events that follow from it."""
        found: list[events.Event] = []
        # An older bot does not name itself: then each that is online may have predicted.
        names = [made.bot_id] if made.bot_id else [b for b, on in self._online.items() if on]
        vigils = [self._vigils[name] for name in names if name in self._vigils]
        for spoke in (spoke for vigil in vigils for spoke in vigil.predicted(made.at_ms)):
            if spoke.silent_since_ms is not None:
                log.info("bot.speaks", slot=self._slot, bot_id=spoke.bot_id)
            found.append(spoke)
        if made.features is not None:
            found += self._news(self._features.predicted(made.t, made.features, made.at_ms))
        return found

    def scored(self, bar: events.BarScored, *, counts: bool) -> list[events.Event]:
        """Take a bar that the daemon scored; return the events about the bot.

        Args:
            bar: The bar.
            counts: Whether we could have received an answer to the bar before in time.
        """
        found: list[events.Event] = []
        found += self._news(self._features.scored(bar.t, bar.row, bar.at_ms))
        vigils = list(self._vigils.values())
        for fell in (f for vigil in vigils for f in vigil.closed(bar.at_ms, counts=counts)):
            log.warning("bot.silent", slot=self._slot, bot_id=fell.bot_id, why=silence(fell))
            found.append(fell)
        return found

    def _vigil(self, bot_id: str) -> BotLiveness:
        vigil = self._vigils.pop(bot_id, None) or BotLiveness(self._slot, self._patience_ms)
        self._vigils[bot_id] = vigil
        if len(self._vigils) > KNOWN_BOTS:
            oldest = next(iter(self._vigils))
            del self._vigils[oldest]
            self._online.pop(oldest, None)
        return vigil

    def _news(self, compared: list[Compared]) -> list[Compared]:
        """Leave out agreeing features, unless there is a feature mismatch now."""
        mismatched = self._mismatched()
        return [one for one in compared if mismatched or isinstance(one, events.FeaturesDiffered)]

"""Track the bots of a slot: their library, the features that they use, and their silence.

A model that no bot can load is useless, and so is one trained on other features than the bot
computes. Both are known before a retrain starts.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from monitor import events
from monitor.drift.feed_health import utc
from monitor.events import CLEAN_BARS
from monitor.outbox import Finding
from monitor.policy import DAY_MS

# More than anybody runs; a client could otherwise fill the memory with new names.
KNOWN_BOTS = 100


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference between the features of a bot and ours, at the newest bar that had one.

    `theirs` and `ours` are the values of `column`. `others` counts the other columns that differ,
    `bars` the bars that differed, `clean` the bars that agreed since.
    """

    t: int
    column: str
    theirs: float | None
    ours: float | None
    others: int = 0
    bars: int = 1
    clean: int = 0

    def __str__(self) -> str:
        more = f" ({self.others} more columns differ)" if self.others else ""
        values = f"is {self.theirs} at the bot and {self.ours} here"
        return f"{self.column} of bar {self.t} {values}{more}"


@dataclass(frozen=True, slots=True)
class _Bot:
    fault: str
    gone_ms: int | None


class Bots:
    """Tracks the bots of one slot.

    Attributes:
        mismatch: How features differ; None while they agree.
        speakers: Each bot that has published a prediction -> since when it is online and
            publishes none, ms UTC; None while it does.
    """

    def __init__(self) -> None:
        self._bots: dict[str, _Bot] = {}
        self.mismatch: Mismatch | None = None
        self._compared_ms, self._not_compared = 0, 0
        self.speakers: dict[str, int | None] = {}

    NEWS: ClassVar = (
        events.BotSeen,
        events.BotSpoke,
        events.BotFellSilent,
        events.FeaturesDiffered,
        events.FeaturesAgreed,
    )

    def take(self, event: events.Event) -> list[Finding]:
        """Take an event about a bot; return the findings."""
        match event:
            case events.BotSeen():
                return self._seen(event)
            case events.BotSpoke():
                return self._spoke(event)
            case events.BotFellSilent():
                return self._fell_silent(event)
            case events.FeaturesDiffered():
                return self._differed(event)
            case events.FeaturesAgreed():
                return self._agreed(event)
        return []

    def bar(self, at_ms: int) -> list[Finding]:
        """Take the close of a bar, ms UTC; end a mismatch that no bot could show any more.

        The bot that had it may be gone for good, or publish its features no longer. It is waited
        for as long as one that left.
        """
        now = self.mismatch
        if now is None:
            return []
        self._not_compared += 1
        if self._not_compared < CLEAN_BARS or at_ms - self._compared_ms < DAY_MS:
            return []
        self.mismatch = None
        text = (
            f"no bot has published features for {self._not_compared} bars, so nobody knows "
            f"whether {now.column} still differs; models are deployed again"
        )
        return [Finding("features_unknown", text, {"bars": now.bars, "column": now.column})]

    def unservable(self, now_ms: int) -> str:
        """Return why no bot could load a model saved now, "" if they could.

        A bot that left counts for another day: most come back unchanged.
        """
        for bot in self._bots.values():
            if bot.fault and (bot.gone_ms is None or now_ms - bot.gone_ms < DAY_MS):
                return bot.fault
        return ""

    def why_strange(self, bot_id: str) -> str:
        """Return why nobody obeys a bot of that name: others are known; "" if one does."""
        if not self._bots or bot_id in self._bots:
            return ""
        return f"it is none of the bots that are known: {', '.join(sorted(self._bots)[:5])}"

    def objection(self, now_ms: int) -> str:
        """Return why no model may be deployed now, "" if one may."""
        if self.mismatch is not None:
            return f"the bot's features are not ours: {self.mismatch.column} differs"
        return self.unservable(now_ms)

    def _seen(self, event: events.BotSeen) -> list[Finding]:
        was = self._bots.pop(event.bot_id, None)
        fault, gone_ms = event.fault, None if event.online else event.at_ms
        if gone_ms is not None and was is not None and was.gone_ms is not None:
            gone_ms = was.gone_ms  # the broker keeps its last word, which each start hears again
        self._bots[event.bot_id] = _Bot(fault, gone_ms)
        if len(self._bots) > KNOWN_BOTS:
            del self._bots[next(iter(self._bots))]  # the one not seen for the longest time
        before = was.fault if was is not None else ""
        if fault == before:
            return []
        fields: dict[str, object] = {"bot_id": event.bot_id, "sklearn": event.sklearn}
        if fault:
            return [Finding("bot_unservable", fault, fields, alert=True)]
        text = f"bot {event.bot_id} can load the models that are saved now"
        return [Finding("bot_servable", text, fields)]

    def _spoke(self, event: events.BotSpoke) -> list[Finding]:
        was_silent = self._note_voice(event.bot_id, None)
        if was_silent is None:
            return []
        text = f"bot {event.bot_id} predicts again, after a silence since {utc(was_silent)}"
        fields: dict[str, object] = {"bot_id": event.bot_id, "since_ms": was_silent}
        return [Finding("bot_speaks", text, fields)]

    def _fell_silent(self, event: events.BotFellSilent) -> list[Finding]:
        if self._note_voice(event.bot_id, event.since_ms) is not None:
            return []
        fields: dict[str, object] = {"bot_id": event.bot_id, "since_ms": event.since_ms}
        return [Finding("bot_silent", silence(event), fields, alert=True)]

    def _note_voice(self, bot_id: str, silent_ms: int | None) -> int | None:
        """Note since when a bot is silent; return since when it was before."""
        was = self.speakers.pop(bot_id, None)
        self.speakers[bot_id] = silent_ms
        if len(self.speakers) > KNOWN_BOTS:
            del self.speakers[next(iter(self.speakers))]
        return was

    def _differed(self, event: events.FeaturesDiffered) -> list[Finding]:
        bars = self.mismatch.bars if self.mismatch is not None else 0
        self._compared_ms, self._not_compared = event.at_ms, 0
        self.mismatch = now = Mismatch(
            t=event.t,
            column=event.column,
            theirs=event.theirs,
            ours=event.ours,
            others=event.others,
            bars=bars + 1,
        )
        if bars:
            return []
        fields: dict[str, object] = {
            "t": event.t,
            "column": event.column,
            "theirs": event.theirs,
            "ours": event.ours,
        }
        until = f"{CLEAN_BARS} bars in a row agree or none came for a day"
        text = f"{now}; nothing is deployed until {until}"
        return [Finding("features_differ", text, fields, alert=True)]

    def _agreed(self, event: events.FeaturesAgreed) -> list[Finding]:
        now = self.mismatch
        if now is None or event.t <= now.t:
            return []
        self._compared_ms, self._not_compared = event.at_ms, 0
        self.mismatch = replace(now, clean=now.clean + 1)
        if self.mismatch.clean < CLEAN_BARS:
            return []
        self.mismatch = None
        text = f"the bot's features are ours again, after {now.bars} bars that were not"
        return [Finding("features_agree", text, {"bars": now.bars, "column": now.column})]


def silence(event: events.BotFellSilent) -> str:
    """Return one sentence: since when a bot is silent, and what to do."""
    return (
        f"bot {event.bot_id} is online and has published no prediction since "
        f"{utc(event.since_ms)}, for {event.bars} closed bars: see in its log whether it hangs, "
        "and restart it"
    )

"""Detect a bot that no longer predicts: one that hangs keeps its connection to the broker.

Only a bot that is online and has published predictions before is watched. It is silent if
three closed bars in a row passed without a prediction; the close of the fourth shows that the
third is over. A bar does not count if the bot got it too late, or if we were not connected.
"""

from typing import Final

from monitor.events import BotFellSilent, BotSpoke

SILENT_BARS: Final = 3


class BotLiveness:
    """Watches the predictions of one bot.

    Args:
        slot: The name of the slot.
        patience_ms: The shortest silence, in ms of event time. On a fast replay bars close
            faster than a busy machine answers.
    """

    def __init__(self, slot: str, patience_ms: float = 0.0) -> None:
        self._slot, self._patience_ms = slot, patience_ms
        self._online: str | None = None  # the bot that is online
        self._speaker: str | None = None  # the bot that has predicted
        self._silent_ms: int | None = None
        self._heard_ms: int | None = None
        self._bars = 0

    def recall(self, speaker: str | None, silent_ms: int | None) -> None:
        """Continue after a restart, with the bot that predicted and when its silence began."""
        self._speaker, self._silent_ms = speaker, silent_ms

    def seen(self, bot_id: str, *, online: bool) -> None:
        """Note that a bot came or went; its time to predict begins again."""
        self._online, self._bars = bot_id if online else None, 0

    def predicted(self, at_ms: int) -> list[BotSpoke]:
        """Note a prediction received at `at_ms`, ms UTC.

        Return an event if it is the bot's first one or ends a silence.
        """
        self._heard_ms, self._bars = at_ms, 0
        is_known = self._speaker == self._online and self._silent_ms is None
        if self._online is None or is_known:
            return []
        silent_ms, self._silent_ms = self._silent_ms, None
        self._speaker = self._online
        spoke = BotSpoke(
            slot=self._slot, at_ms=at_ms, bot_id=self._speaker, silent_since_ms=silent_ms
        )
        return [spoke]

    def closed(self, close_ms: int, *, counts: bool) -> list[BotFellSilent]:
        """Note a bar closed at `close_ms`, ms UTC; return an event if the bot is silent now.

        `counts` is whether we could have received an answer to the bar before.
        """
        watched = self._online if self._online == self._speaker else None
        if watched is None or not counts or self._silent_ms is not None:
            self._bars = 0
            return []
        if self._heard_ms is None:
            self._heard_ms = close_ms  # no prediction since the restart
        self._bars += 1
        if self._bars <= SILENT_BARS or close_ms - self._heard_ms < self._patience_ms:
            return []
        self._silent_ms = self._heard_ms
        fell = BotFellSilent(
            slot=self._slot,
            at_ms=close_ms,
            bot_id=watched,
            since_ms=self._silent_ms,
            bars=self._bars - 1,
        )
        return [fell]

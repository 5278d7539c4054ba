"""Whether the bot still predicts: one that hangs keeps its connection and says nothing.

Only a bot that is online and has published predictions before is listened for. It is
silent when three closed bars in a row have passed without any; the fourth shows that
the third is over. Bars that nobody could answer in time, or that we could not hear the
answer to, do not count.
"""

from typing import Final

from monitor.events import BotFellSilent, BotSpoke

SILENT_BARS: Final = 3


class BotLiveness:
    """Listens to the bot of one slot.

    Args:
        slot: Its name.
        patience_ms: Event time that a silence lasts at least: on a fast replay bars close quicker
            than a busy machine answers.
    """

    def __init__(self, slot: str, patience_ms: float = 0.0) -> None:
        self._slot, self._patience_ms = slot, patience_ms
        self._online: str | None = None  # the bot that is there
        self._speaker: str | None = None  # the bot whose predictions were heard
        self._silent_ms: int | None = None
        self._heard_ms: int | None = None
        self._bars = 0

    def recall(self, speaker: str | None, silent_ms: int | None) -> None:
        """Go on after a restart, with the bot that spoke and since when it is silent."""
        self._speaker, self._silent_ms = speaker, silent_ms

    def seen(self, bot_id: str, *, online: bool) -> None:
        """Take news of a bot; it has time to speak from now on."""
        self._online, self._bars = bot_id if online else None, 0

    def predicted(self, at_ms: int) -> list[BotSpoke]:
        """Take a prediction, heard at `at_ms`; it is news if it is the first, or after a silence.

        It does not say whose it is: it is taken for that of the bot that is there.
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
        """Take a closed bar; `counts` if a bot can have answered the last one and been heard."""
        watched = self._online if self._online == self._speaker else None
        if watched is None or not counts or self._silent_ms is not None:
            self._bars = 0
            return []
        if self._heard_ms is None:
            self._heard_ms = close_ms  # nothing yet since the restart
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

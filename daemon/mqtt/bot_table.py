"""The bots of one slot, by what they say on the broker.

A broker keeps the presence of a bot. If the broker was killed together with the bot, it kept
`online` and has no last will to send: that bot is a ghost.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hyperdrift.mqtt.messages import BotPresence, SwapAck

# More bots than anybody runs on one slot. Anybody on the broker can invent bot ids.
BOTS: Final = 100
# A bot that lives says so once in `heartbeat_s`; after so many times of silence it is a ghost.
MISSED: Final = 4


@dataclass(slots=True)
class KnownBot:
    """One bot, and what it has made of the newest swap order; times are monotonic seconds.

    Attributes:
        presence: Its newest presence.
        topic: The topic of that presence.
        heard_s: When it was heard last, or when it could be heard again.
        is_live: Whether it was heard itself; False if only the broker's copy of its presence was.
        asked_s: When the order was sent to it last.
        repeats: How often the order was repeated for it.
        deaths: How often it went without an answer to the order.
        answer: `loaded`, `refused`, or empty before it answers.
        told: Whether a person was told that it does not load the version.
        passed_on: What the slot's loop knows of it.
    """

    presence: BotPresence
    topic: str
    heard_s: float
    is_live: bool
    asked_s: float
    repeats: int = 0
    deaths: int = 0
    answer: str = ""
    told: bool = False
    passed_on: tuple[object, ...] = field(default=())

    @property
    def bot_id(self) -> str:
        """The name of the bot."""
        return self.presence.bot_id

    def answered(self, ack: SwapAck, now: float) -> None:
        """Note its answer to the newest order, at `now`, monotonic seconds."""
        self.answer, self.heard_s, self.is_live = ack.status, now, True
        if ack.status == "loaded":
            self.presence = dataclasses.replace(self.presence, model_id=ack.model_id)

    @property
    def who(self) -> tuple[object, ...]:
        """What the slot's loop must know of it."""
        bot = self.presence
        return bot.online, bot.bot_id, bot.python, bot.sklearn, bot.forms, bot.waiting_for

    @property
    def is_ghost_without_heartbeat(self) -> bool:
        """Whether only the broker speaks of it, and it did not answer an order either."""
        return not self.presence.heartbeat_s and not self.is_live and self.told


class BotTable:
    """The bots of one slot, the one heard of last at the end."""

    def __init__(self) -> None:
        self._bots: dict[str, KnownBot] = {}

    def __iter__(self) -> Iterator[KnownBot]:
        return iter(tuple(self._bots.values()))

    def take(self, topic: str, presence: BotPresence, now: float, *, retained: bool) -> KnownBot:
        """Note a presence; return its bot, with the `deaths` that it has now.

        Args:
            topic: The topic of the presence.
            presence: The presence.
            now: The time, monotonic seconds.
            retained: Whether it is the broker's copy of an older message.
        """
        bot = self._bots.pop(presence.bot_id, None)
        if bot is None:
            bot = KnownBot(presence, topic, now, not retained, now)
            if len(self._bots) >= BOTS:
                del self._bots[next(iter(self._bots))]
        self._bots[presence.bot_id] = bot
        was, bot.presence, bot.topic, bot.heard_s = bot.presence, presence, topic, now
        bot.is_live = bot.is_live or not retained
        if presence.online and not was.online:
            bot.asked_s = now  # it finds the order retained
        died = was.online and not presence.online
        # One that waits for a file does not load: it did not die of the version.
        if died and not bot.answer and not was.waiting_for:
            bot.deaths += 1
        return bot

    def find(self, bot_id: str) -> KnownBot | None:
        """Return the bot of that name; of an unnamed answer, the only bot that is online."""
        online = self.online()
        if not bot_id and len(online) == 1:
            return online[0]
        return self._bots.get(bot_id)

    def cleared(self, topic: str) -> None:
        """Count the bot whose presence stood at a topic as gone: somebody cleared it."""
        for bot in self.online():
            if bot.topic == topic:
                bot.presence = dataclasses.replace(bot.presence, online=False)

    def online(self) -> list[KnownBot]:
        """Return the bots that are online, the one heard of last at the end."""
        return [bot for bot in self if bot.presence.online]

    def asked(self, now: float) -> None:
        """Note that a new order was sent to all at `now`, monotonic seconds."""
        for bot in self:
            bot.asked_s, bot.repeats, bot.deaths, bot.answer, bot.told = now, 0, 0, "", False

    def awaited(self) -> list[KnownBot]:
        """Return the bots that are online and have not answered, and of which nobody was told."""
        return [b for b in self.online() if not b.told and (b.presence.waiting_for or not b.answer)]

    def excuse(self, now: float) -> None:
        """Begin all waits anew at `now`: nobody can be heard without the broker."""
        for bot in self:
            bot.heard_s = bot.asked_s = now

    def ghosts(self, now: float) -> list[KnownBot]:
        """Return the bots that are online only as the broker has it, and count them as gone."""
        found = []
        for bot in self.online():
            beat = bot.presence.heartbeat_s
            if bot.is_ghost_without_heartbeat or (beat and now - bot.heard_s > MISSED * beat):
                bot.presence = dataclasses.replace(bot.presence, online=False)
                found.append(bot)
        return found

"""Name every MQTT topic in one place: a misspelt topic raises no error, nobody hears it."""

import re
from dataclasses import dataclass
from typing import Final

from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_LONGEST: Final = 65_535  # bytes; a packet has two for the length of its topic
# What may not stand in one level of a topic, and the sign that escapes it.
_RESERVED: Final = re.compile(r"[%/+#\x00-\x1f\x7f]")
_LONGEST_PREFIX: Final = 1000


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics under one prefix.

    In a bot's own topics its id is one level: `/`, `+`, `#`, `%` and control characters are
    written `%2F` and so on.

    Raises:
        BadInput: If the prefix is empty or too long, contains + or #, begins with $, or cannot
            be shown.
    """

    prefix: str = "hyperdrift"

    def __post_init__(self) -> None:
        if not self.prefix or set(self.prefix) & set("+#"):
            msg = f"mqtt.prefix {self.prefix!r} must be a topic without + and #, e.g. hyperdrift"
            raise BadInput(msg)
        if not self.prefix.isprintable() or len(self.prefix) > _LONGEST_PREFIX:
            msg = f"mqtt.prefix {self.prefix[:40]!r} must be at most {_LONGEST_PREFIX} characters"
            raise BadInput(f"{msg} that can be shown, e.g. hyperdrift")
        if self.prefix.startswith("$"):
            msg = f"mqtt.prefix {self.prefix!r} begins with $, as only a broker's own topics do"
            raise BadInput(f"{msg}; write for example hyperdrift")

    @property
    def status(self) -> str:
        """The daemon's presence, retained, with a last will."""
        return f"{self.prefix}/status"

    def model(self, slot: SlotName) -> str:
        """The swap order, retained."""
        return f"{self.prefix}/{slot}/model"

    def ack(self, slot: SlotName) -> str:
        """The bot's answer to a swap order."""
        return f"{self.prefix}/{slot}/model/ack"

    def bot(self, slot: SlotName, bot_id: str) -> str:
        """The presence of one bot, retained, with a last will."""
        return f"{self.prefix}/{slot}/bot/{_level(bot_id)}"

    def fetch(self, slot: SlotName, bot_id: str) -> str:
        """A bot asks for a piece of a file of the ordered version."""
        return f"{self.bot(slot, bot_id)}/fetch"

    def piece(self, slot: SlotName, bot_id: str) -> str:
        """The piece that the bot asked for."""
        return f"{self.bot(slot, bot_id)}/piece"

    def bots(self, slot: SlotName | str) -> tuple[str, str]:
        """Return filters of all presences of a slot: one topic a bot, and the older one for all."""
        return f"{self.prefix}/{slot}/bot/+", f"{self.prefix}/{slot}/bot"

    def prediction(self, slot: SlotName) -> str:
        """What the bot predicted for a bar."""
        return f"{self.prefix}/{slot}/prediction"

    def trade(self, slot: SlotName) -> str:
        """A trade that the bot closed."""
        return f"{self.prefix}/{slot}/trade"

    def command(self, slot: SlotName) -> str:
        """An operator's command."""
        return f"{self.prefix}/{slot}/command"

    def reply(self, slot: SlotName) -> str:
        """The one reply to each command."""
        return f"{self.prefix}/{slot}/command/reply"

    def state(self, slot: SlotName) -> str:
        """The state of the slot, retained."""
        return f"{self.prefix}/{slot}/state"

    def event(self, slot: SlotName) -> str:
        """The events of the slot, in words and fields."""
        return f"{self.prefix}/{slot}/event"

    def slot_of(self, topic: str) -> tuple[SlotName, str] | None:
        """Split `hyperdrift/BTC-5m/model/ack` into its slot and `model/ack`; None if not ours."""
        head = f"{self.prefix}/"
        if not topic.startswith(head):
            return None
        name, slash, rest = topic[len(head) :].partition("/")
        if not slash:
            return None
        try:
            return SlotName.parse(name), rest
        except BadInput:
            return None


def is_topic(text: str) -> bool:
    """Whether a broker takes a text as the topic of a message."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a character
        return False
    return 0 < size <= _LONGEST and not set(text) & set("+#\0")


def _level(bot_id: str) -> str:
    return _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", bot_id)

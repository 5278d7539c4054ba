"""Name every MQTT topic in one place: a misspelt topic raises no error, nobody hears it."""

from dataclasses import dataclass

from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics under one prefix.

    Raises:
        BadInput: If the prefix is empty or contains + or #.
    """

    prefix: str = "hyperdrift"

    def __post_init__(self) -> None:
        if not self.prefix or set(self.prefix) & set("+#"):
            msg = f"mqtt.prefix {self.prefix!r} must be a topic without + and #, e.g. hyperdrift"
            raise BadInput(msg)

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

    def bot(self, slot: SlotName) -> str:
        """The bot's presence, retained, with a last will."""
        return f"{self.prefix}/{slot}/bot"

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

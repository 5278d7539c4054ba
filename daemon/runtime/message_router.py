"""Turn the MQTT messages of bots and operators into events of the engine.

Handlers run on the event loop and only put items into inboxes. A message that cannot be read
is logged once per topic and skipped. So a faulty bot cannot stop the daemon.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from daemon.core.clock import VenueClock
from daemon.core.coin_names import slots_meant
from daemon.mqtt.messages import Command, CommandReply, PayloadReader
from daemon.registry.signing import KeyRing
from daemon.runtime.announcements import Announcements, announced
from daemon.runtime.bots.presence_debounce import PresenceDebounce
from daemon.runtime.command_log import CommandLog
from daemon.runtime.commands import CommandHandler, no_such_slot
from daemon.runtime.inbox import BotPrediction, Inbox, Item
from daemon.runtime.trades import TradeBook, TradeLimit
from daemon.store.async_store import AsyncStore
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, PredictionMade, SwapAck, TradeReport
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.events import CommandReceived, SwapAcked

log = structlog.get_logger()


class MessageRouter:
    """Receives the messages of all slots and puts them into the slots' inboxes.

    `blocked` returns why nothing can be journalled at present, "" if it can. `announcements` tells
    the listeners in this process what is published.
    """

    def __init__(
        self,
        inboxes: Mapping[SlotName, Inbox],
        bus: MqttConnection,
        topics: Topics,
        *,
        clock: Clock,
        venue: VenueClock,
        audit: CommandLog,
        book: TradeBook,
        command_keys: KeyRing | None = None,
        blocked: Callable[[], str] = str,
        announcements: Announcements | None = None,
    ) -> None:
        self._inboxes, self._bus, self._topics, self._venue = inboxes, bus, topics, venue
        self._audit, self._book = audit, book
        self._announcements = announcements or Announcements()
        self._desk = CommandHandler(
            inboxes.keys(), clock, self._submit, self._refuse, keys=command_keys, blocked=blocked
        )
        self._payloads, self._limit = PayloadReader(), TradeLimit(venue, self.alert)
        self._flaps = PresenceDebounce(clock, self.alert)
        self._heard: set[SlotName] = set()

    async def recall(self, store: AsyncStore) -> None:
        """Read from the journal which trades and commands were taken before this start."""
        await self._book.recall(store, self._inboxes)
        await store.call(self._desk.recall)

    def listen(self) -> None:
        """Subscribe to the topics; commands and trades for unknown slots are told of too."""
        self._bus.subscribe(f"{self._topics.prefix}/+/command", self._take_command)
        self._bus.subscribe(f"{self._topics.prefix}/+/trade", self._take_trade)
        for slot in self._inboxes:
            self.hear(slot)

    def hear(self, slot: SlotName) -> None:
        """Subscribe to the predictions of a slot; what comes after its end is ignored."""
        if slot not in self._heard:
            self._heard.add(slot)
            self._bus.subscribe(self._topics.prediction(slot), self._take_prediction)

    def order(self, slot: SlotName, command: Command, by: str) -> None:
        """Take a command from inside this process; it is answered like one that came over MQTT.

        Args:
            slot: A slot of this daemon.
            command: What to do.
            by: Who asks; whoever calls this has made sure of it.
        """
        self._desk.order(slot, command, by)

    def order_signed(self, slot: SlotName, message: bytes) -> None:
        """Take a command as it would come over MQTT: its signature says who asks."""
        self._desk.take(slot, message, retained=False)

    def acknowledged(self, slot: SlotName, ack: SwapAck, order_to_ack_ms: float) -> bool:
        """Put an acknowledgement into the slot's inbox, and publish how long it took.

        Return False if the inbox has no room; then the caller must try again later.
        """
        at_ms = self._venue.now_ms()
        acked = SwapAcked(
            slot=str(slot),
            at_ms=at_ms,
            swap_id=ack.swap_id,
            model_id=ack.model_id,
            bot_id=ack.bot_id,
            loaded=ack.status == "loaded",
            error=ack.error,
        )
        if not self._put(slot, acked):
            return False
        text = f"bot {ack.bot_id} {ack.status} {ack.model_id}" + (ack.error and f": {ack.error}")
        message: dict[str, Any] = {
            "kind": "acknowledged",
            "at_ms": at_ms,
            "text": text,
            "model_id": ack.model_id,
            "bot_id": ack.bot_id,
            "status": ack.status,
            "load_ms": ack.load_ms,
            "order_to_ack_ms": round(order_to_ack_ms, 3),
        }
        self._announce(slot, message)
        return True

    def bot_seen(self, slot: SlotName, presence: BotPresence) -> bool:
        """Put a bot's presence into the slot's inbox; False if the caller must try again."""
        return self._flaps.pass_on(slot, lambda: self._put(slot, presence))

    def _put(self, slot: SlotName, item: Item) -> bool:
        """Put an item into an inbox; False if it has no room. A removed slot takes everything."""
        inbox = self._inboxes.get(slot)
        return inbox is None or inbox.put_nowait(item)

    def alert(self, slot: SlotName, text: str) -> None:
        """Publish what a person must look at: a bot that does not answer, or a flood."""
        message = {"kind": "alert", "at_ms": self._venue.now_ms(), "text": text}
        self._announce(slot, {**message, "severity": "critical"})

    def _announce(self, slot: SlotName, message: dict[str, Any]) -> None:
        self._bus.publish(self._topics.event(slot), message)
        self._announcements.tell(announced(str(slot), message))

    def _take_command(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - Handler
        if found := self._topics.slot_of(topic):
            self._desk.take(found[0], payload, retained=retained)
        else:
            self._bus.publish(f"{topic}/reply", no_such_slot(topic, payload))

    def _submit(self, slot: SlotName, command: Command, by: str) -> bool:
        fields = msgspec.structs.asdict(command) | {"slot": str(slot), "by": by}
        log.info("command.received", **fields)
        return self._inboxes[slot].put_nowait(
            CommandReceived(
                slot=str(slot),
                at_ms=self._venue.now_ms(),
                request_id=command.request_id,
                command=command.command,
                reason=command.reason,
                model_id=command.model_id,
                by=by,
                issued_ms=command.issued_ms,
            )
        )

    def _refuse(self, slot: SlotName, reply: CommandReply) -> None:
        self._bus.publish(self._topics.reply(slot), reply)
        self._announcements.answered(reply)
        if slot in self._inboxes:  # anybody can invent slots
            self._audit.refused(slot, reply)

    def _take_prediction(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        found = self._topics.slot_of(topic)
        made = self._payloads.read(topic, payload, PredictionMade)
        if found is not None and made is not None:
            heard = BotPrediction(made.t, made.features, self._venue.now_ms(), made.bot_id)
            self._put(found[0], heard)  # one without room is dropped

    def _take_trade(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        name = topic.removeprefix(f"{self._topics.prefix}/").removesuffix("/trade")
        meant = slots_meant(self._inboxes, slot=name)
        if len(meant) != 1:
            self._book.pass_over(name)
            return
        slot, trade = meant[0], self._payloads.read(topic, payload, TradeReport)
        if trade is None:
            return
        # A known one does not count for the limit.
        if not self._book.heeds(slot, trade):
            return
        if not self._limit.take(slot):
            return
        self._book.in_messages.taken += 1
        closed = self._book.closed(slot, trade)
        if closed is not None and not self._inboxes[slot].put_nowait(closed):
            log.warning("trade.dropped", slot=str(slot), trade_id=trade.trade_id)

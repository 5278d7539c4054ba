"""The daemon's side of a swap: publish the order, repeat it, and report the answer.

The order is retained, so a bot that was offline gets it when it connects. This module watches
only whether the bots that are online answer.
"""

import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon.mqtt.messages import PayloadReader
from daemon.registry.signing import Signer
from hyperdrift.clock import Clock
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, SwapAck, SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

OnAck = Callable[[SlotName, SwapAck, float], bool | None]
OnSilence = Callable[[SlotName, str], None]
OnBot = Callable[[SlotName, BotPresence], bool]

# Loading takes a second or two. A bot that is busy with a bar may need longer.
REPEAT_S = 10.0
REPEATS = 3
# If a bot dies so often before it answers an order, loading the version kills it.
DEATHS = 3
# More bots than anybody runs on one slot. Anybody on the broker can invent bot ids.
BOTS = 100

log = structlog.get_logger()


@dataclass(slots=True)
class _Pending:
    """The newest swap order of a slot, and since when it has no answer."""

    order: SwapOrder
    ordered_at: float
    sent_at: float
    repeats: int = 0
    deaths: int = 0
    settled: bool = False  # answered, or reported: not repeated any more
    answered: bool = False


class SwapCoordinator:
    """Publishes swap orders for all slots and repeats each until a bot answers.

    Args:
        bus: The connection; it keeps orders while the broker does not answer.
        topics: Gives the names of the topics.
        clock: Real time, even if the venue is a fast replay, because bots need real time.
        on_ack: Called for each answer to a slot's newest order, once per bot and status, with
            the ms since the order. If it returns False, it is called again later.
        on_silence: Called once per order if a bot is online and does not answer.
        on_bot: Called when a bot comes, goes, or returns with other versions. If it returns
            False, it is called again later with the newest presence.
        signer: Signs orders; None leaves them unsigned.
    """

    def __init__(
        self,
        bus: MqttConnection,
        topics: Topics,
        clock: Clock,
        *,
        on_ack: OnAck,
        on_silence: OnSilence,
        on_bot: OnBot | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._bus, self._topics, self._clock, self._signer = bus, topics, clock, signer
        self._on_ack, self._on_silence, self._on_bot = on_ack, on_silence, on_bot
        self._pending: dict[SlotName, _Pending] = {}
        self._bots: dict[SlotName, BotPresence] = {}
        self._passed_on: dict[SlotName, tuple[object, ...]] = {}
        self._answered: dict[SlotName, set[tuple[str, str]]] = {}
        self._payloads = PayloadReader()
        self._untaken: list[tuple[SlotName, SwapAck, float]] = []
        self.last_ack_ms: dict[SlotName, float] = {}

    def watch(self, slot: SlotName) -> None:
        """Subscribe to the bots of a slot; call it once per slot, before its first order."""
        self._bus.subscribe(self._topics.ack(slot), self._take_ack)
        self._bus.subscribe(self._topics.bot(slot), self._take_presence)

    def bot(self, slot: SlotName) -> BotPresence | None:
        """Return the newest presence of the slot's bot; None if no bot is online."""
        presence = self._bots.get(slot)
        return presence if presence is not None and presence.online else None

    def order(self, slot: SlotName, manifest: Manifest, path: Path, reason: str) -> str:
        """Tell the slot's bots to load a version; return the swap id.

        Args:
            slot: The slot.
            manifest: The pointer that is live now.
            path: The path of its LATEST.json, as the bots see it.
            reason: Why, for the bots' logs.
        """
        # A bot refuses an order that is older than its newest. The pointer's time always grows,
        # even if the daemon restarts or the wall clock steps back. A repeated order is the same.
        issued_ms = manifest.deployed_ms
        order = SwapOrder(
            swap_id=f"{issued_ms}-{secrets.token_hex(4)}",
            model_id=manifest.model_id,
            manifest=str(path),
            sha256=dict(manifest.sha256),
            sklearn=manifest.sklearn,
            reason=reason,
            issued_ms=issued_ms,
        )
        if self._signer is not None:
            signature = self._signer.sign_message(order)
            order = dataclasses.replace(order, signature=signature)
        now = self._clock.monotonic()
        self._pending[slot] = _Pending(order, ordered_at=now, sent_at=now)
        self._answered[slot] = set()
        self._send(slot)
        log.info("swap.ordered", slot=str(slot), model_id=order.model_id, swap_id=order.swap_id)
        return order.swap_id

    async def run(self) -> None:
        """Repeat unanswered orders and refused calls, until cancelled."""
        while True:
            await self._clock.sleep(1.0)
            self.check()

    def check(self) -> None:
        """Repeat orders unanswered for `REPEAT_S` seconds, and calls that returned False."""
        now = self._clock.monotonic()
        for slot, pending in self._pending.items():
            if self.bot(slot) is None or not self._bus.connected:
                pending.sent_at = now  # no bot is online; the broker retains the order
            elif not pending.settled and now - pending.sent_at >= REPEAT_S:
                self._repeat(slot, pending, now)
        self._hand_over()
        for slot in self._bots:
            self._tell(slot)

    def tell_again(self) -> None:
        """Call `on_bot` again for each slot's bot, after the trainer's versions have changed."""
        self._passed_on.clear()

    def _acknowledge(self, slot: SlotName, ack: SwapAck, took_ms: float) -> None:
        self.last_ack_ms[slot] = took_ms
        self._untaken.append((slot, ack, took_ms))
        self._hand_over()

    def _hand_over(self) -> None:
        """Pass answers on and keep those not taken, because a refusal must never be lost."""
        self._untaken = [each for each in self._untaken if self._on_ack(*each) is False]

    def _repeat(self, slot: SlotName, pending: _Pending, now: float) -> None:
        if pending.repeats < REPEATS:
            pending.repeats, pending.sent_at = pending.repeats + 1, now
            self._send(slot)
            return
        pending.settled = True
        text = (
            f"bot {self._bots[slot].bot_id} has not answered the order to load "
            f"{pending.order.model_id} after {REPEATS} repeats; look at its log"
        )
        log.warning("swap.unanswered", slot=str(slot), swap_id=pending.order.swap_id)
        self._on_silence(slot, text)

    def _send(self, slot: SlotName) -> None:
        self._bus.publish(self._topics.model(slot), self._pending[slot].order, retain=True)

    def _take_ack(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        found, ack = self._topics.slot_of(topic), self._payloads.read(topic, payload, SwapAck)
        if found is None or ack is None:
            return
        slot, pending = found[0], self._pending.get(found[0])
        if pending is None or ack.swap_id != pending.order.swap_id:
            log.debug("swap.late_ack", slot=str(slot), swap_id=ack.swap_id, status=ack.status)
            return
        same = [bot_id for bot_id, status in self._answered[slot] if status == ack.status]
        if ack.bot_id in same or len(same) == BOTS:
            return
        self._answered[slot].add((ack.bot_id, ack.status))
        pending.settled = pending.answered = True
        took_ms = (self._clock.monotonic() - pending.ordered_at) * 1000
        fields = {"slot": str(slot), "model_id": ack.model_id, "bot_id": ack.bot_id}
        if ack.status == "loaded":
            log.info("swap.loaded", **fields, order_to_ack_ms=round(took_ms, 1))
        else:
            log.warning("swap.refused", **fields, why=ack.error)
        self._acknowledge(slot, ack, took_ms)

    def _take_presence(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        found, presence = (
            self._topics.slot_of(topic),
            self._payloads.read(topic, payload, BotPresence),
        )
        if found is None or presence is None:
            return
        known = self._bots.get(found[0])
        self._bots[found[0]] = presence
        if known is not None and known.online and not presence.online:
            self._note_death(found[0], presence.bot_id)
        self._tell(found[0])

    def _tell(self, slot: SlotName) -> None:
        """Pass on the presence of the slot's bot, if it differs from the last one passed."""
        presence = self._bots[slot]
        if self._passed_on.get(slot) == _who(presence):
            return
        if self._on_bot is None or self._on_bot(slot, presence):
            self._passed_on[slot] = _who(presence)
            log.info("bot.presence", slot=str(slot), **dataclasses.asdict(presence))

    def _note_death(self, slot: SlotName, bot_id: str) -> None:
        """Count a bot's death during an unanswered order; `DEATHS` of them are a refusal."""
        pending = self._pending.get(slot)
        if pending is None or pending.answered:
            return
        pending.deaths += 1
        if pending.deaths < DEATHS:
            return
        pending.settled = pending.answered = True
        order = pending.order
        error = f"it died {DEATHS} times while it was to load it; look at its log"
        log.warning("swap.deadly", slot=str(slot), model_id=order.model_id, bot_id=bot_id)
        took_ms = (self._clock.monotonic() - pending.ordered_at) * 1000
        ack = SwapAck(
            swap_id=order.swap_id,
            model_id=order.model_id,
            status="refused",
            error=error,
            bot_id=bot_id,
        )
        self._acknowledge(slot, ack, took_ms)


def _who(bot: BotPresence) -> tuple[object, ...]:
    return bot.online, bot.bot_id, bot.python, bot.sklearn, bot.forms

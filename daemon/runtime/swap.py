"""The daemon's side of a swap: publish the order, repeat it, and report the answers.

The order is retained, so a bot that was offline gets it when it connects. This module watches
whether each bot that is online answers. A refusal waits until the others have answered.
"""

import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon.core.log_once import LogOnce
from daemon.mqtt.bot_table import BOTS, BotTable, KnownBot
from daemon.mqtt.messages import PayloadReader
from daemon.mqtt.version_server import VersionServer
from daemon.registry.signing import Signer
from hyperdrift.clock import Clock
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, SwapAck, SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.tasks import run_together

OnAck = Callable[[SlotName, SwapAck, float], bool | None]
OnSilence = Callable[[SlotName, str], None]
OnBot = Callable[[SlotName, BotPresence], bool]

# Loading takes a second or two. A bot that is busy with a bar may need longer.
REPEAT_S = 10.0
REPEATS = 3
# If a bot dies so often before it answers an order, loading the version kills it.
DEATHS = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pending:
    """The newest swap order of a slot; `ordered_at` is in monotonic seconds."""

    order: SwapOrder
    ordered_at: float


class SwapCoordinator:
    """Publishes swap orders for all slots and repeats each until all bots have answered.

    Args:
        bus: The connection; it keeps orders while the broker does not answer.
        topics: Gives the names of the topics.
        clock: Real time, even if the venue is a fast replay, because bots need real time.
        on_ack: Called for each answer to a slot's newest order, once per bot and status, with
            the ms since the order. If it returns False, it is called again later.
        on_silence: Called once per order and bot that is online and does not answer, and for
            each ghost.
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
        self._files = VersionServer(bus, topics, clock)
        self._pending: dict[SlotName, _Pending] = {}
        self._bots: dict[SlotName, BotTable] = {}
        self._subscribed: set[SlotName] = set()
        self._watched: set[SlotName] = set()
        self._answered: dict[SlotName, set[tuple[str, str]]] = {}
        self._payloads, self._misplaced = PayloadReader(), LogOnce()
        self._untaken: list[tuple[SlotName, SwapAck, float]] = []
        self.last_ack_ms: dict[SlotName, float] = {}

    def watch(self, slot: SlotName) -> None:
        """Serve the bots of a slot from now on; call it before its first order."""
        self._watched.add(slot)
        for bot in self._table(slot):  # of a slot that comes back
            bot.passed_on = ()
        if slot in self._subscribed:
            return
        self._subscribed.add(slot)
        self._bus.subscribe(self._topics.ack(slot), self._take_ack)
        for topic in self._topics.bots(slot):
            self._bus.subscribe(topic, self._take_presence)
        self._files.watch(slot)

    def unwatch(self, slot: SlotName) -> None:
        """Serve a slot no longer; its bots are still listened to, in case that it comes back."""
        self._watched.discard(slot)
        self._pending.pop(slot, None)
        self._answered.pop(slot, None)
        self.last_ack_ms.pop(slot, None)
        self._untaken = [one for one in self._untaken if one[0] != slot]
        self._files.withdraw(slot)

    def bot(self, slot: SlotName) -> BotPresence | None:
        """Return the newest presence of the bot heard of last; None if no bot is online."""
        online = self._table(slot).online()
        return online[-1].presence if online else None

    def bots(self, slot: SlotName) -> list[KnownBot]:
        """Return every bot of a slot that was heard of, by name."""
        return sorted(self._table(slot), key=lambda bot: bot.bot_id)

    def order(self, slot: SlotName, manifest: Manifest, path: Path, reason: str) -> str:
        """Tell the slot's bots to load a version; return the swap id.

        Args:
            slot: The slot.
            manifest: The pointer that is live now.
            path: The path of its LATEST.json on this host.
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
            latest=self._files.offer(slot, manifest, path.parent),
        )
        if self._signer is not None:
            signature = self._signer.sign_message(order)
            order = dataclasses.replace(order, signature=signature)
        now = self._clock.monotonic()
        self._pending[slot] = _Pending(order, ordered_at=now)
        self._answered[slot] = set()
        self._table(slot).asked(now)
        self._send(slot)
        log.info("swap.ordered", slot=str(slot), model_id=order.model_id, swap_id=order.swap_id)
        return order.swap_id

    async def run(self) -> None:
        """Repeat unanswered orders and refused calls, and serve files, until cancelled."""
        await run_together(self._check_often(), self._files.run())

    async def _check_often(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            self.check()

    def check(self) -> None:
        """Repeat orders unanswered for `REPEAT_S` seconds, and calls that returned False."""
        now = self._clock.monotonic()
        for slot, bots in self._bots.items():
            if slot not in self._watched:
                continue
            if not self._bus.connected:
                bots.excuse(now)
                continue
            if slot in self._pending:
                self._ask_again(slot, now)
            for ghost in bots.ghosts(now):
                self._clear(slot, ghost)
        self._hand_over()
        for slot in self._bots:
            self._tell(slot)

    def tell_again(self) -> None:
        """Call `on_bot` again for each bot, after the trainer's versions have changed."""
        for bots in self._bots.values():
            for bot in bots:
                bot.passed_on = ()

    def _table(self, slot: SlotName) -> BotTable:
        return self._bots.setdefault(slot, BotTable())

    def _ask_again(self, slot: SlotName, now: float) -> None:
        due = [bot for bot in self._table(slot).awaited() if now - bot.asked_s >= REPEAT_S]
        for bot in due:
            if bot.repeats < REPEATS:
                bot.repeats, bot.asked_s = bot.repeats + 1, now
            else:
                self._give_up(slot, bot)
        if any(not bot.told for bot in due):
            self._send(slot)

    def _give_up(self, slot: SlotName, bot: KnownBot) -> None:
        bot.told = True
        order, why = self._pending[slot].order, bot.presence.waiting_for
        text = f"bot {bot.bot_id} has not answered the order to load {order.model_id} after "
        text += f"{REPEATS} repeats; look at its log"
        if why:
            text = f"bot {bot.bot_id} cannot load {order.model_id} yet and asks on: {why}"
        fields = {"slot": str(slot), "swap_id": order.swap_id, "bot_id": bot.bot_id}
        log.warning("swap.unanswered", **fields, why=why)
        self._on_silence(slot, text)

    def _clear(self, slot: SlotName, ghost: KnownBot) -> None:
        self._bus.publish(ghost.topic, None, retain=True)
        text = (
            f"bot {ghost.bot_id} is a ghost: the broker says that it is online, and it does not "
            "speak; it counts as gone. If it should run, look at its log and start it again"
        )
        log.warning("bot.ghost", slot=str(slot), bot_id=ghost.bot_id)
        self._on_silence(slot, text)

    def _acknowledge(self, slot: SlotName, ack: SwapAck) -> None:
        took_ms = (self._clock.monotonic() - self._pending[slot].ordered_at) * 1000
        fields = {"slot": str(slot), "model_id": ack.model_id, "bot_id": ack.bot_id}
        if ack.status == "loaded":
            log.info("swap.loaded", **fields, order_to_ack_ms=round(took_ms, 1))
        else:
            log.warning("swap.refused", **fields, why=ack.error)
        self.last_ack_ms[slot] = took_ms
        self._untaken.append((slot, ack, took_ms))
        self._hand_over()

    def _hand_over(self) -> None:
        """Pass answers on and keep those not taken, because a refusal must never be lost."""
        answers = sorted(self._untaken, key=lambda each: each[1].status)  # loaded before refused
        self._untaken = [e for e in answers if self._is_early(*e) or self._on_ack(*e) is False]

    def _is_early(self, slot: SlotName, ack: SwapAck, _took_ms: float) -> bool:
        """Whether a refusal waits: another bot may yet show that the version can be loaded."""
        if ack.status == "loaded" or ack.swap_id != self._pending[slot].order.swap_id:
            return False
        bots = self._table(slot)
        others = [bot for bot in bots.awaited() if bot.bot_id != ack.bot_id]
        return bool(others) and not any(bot.answer == "loaded" for bot in bots)

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
        if bot := self._table(slot).find(ack.bot_id):
            bot.answered(ack, self._clock.monotonic())
        self._acknowledge(slot, ack)

    def _take_presence(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - Handler
        if (found := self._topics.slot_of(topic)) is None:
            return
        slot, bots, now = found[0], self._table(found[0]), self._clock.monotonic()
        if not payload:  # somebody has cleared the topic
            bots.cleared(topic)
        elif presence := self._payloads.read(topic, payload, BotPresence):
            own, older = self._topics.bot(slot, presence.bot_id), self._topics.bots(slot)[1]
            known = bots.find(presence.bot_id) if presence.bot_id else None
            if topic not in {own, older}:
                if self._misplaced.begins(slot):
                    log.warning("bot.misplaced", topic=topic, bot_id=presence.bot_id, remedy=own)
                return
            if topic == older and known is not None and known.topic == own:
                return  # left by an older version of a bot that has a topic of its own by now
            self._note_deaths(slot, bots.take(topic, presence, now, retained=retained))
        self._tell(slot)

    def _tell(self, slot: SlotName) -> None:
        """Pass on the presence of each bot that differs from the last one passed."""
        if slot not in self._watched:
            return
        for bot in reversed(list(self._table(slot))):
            if bot.passed_on == bot.who:
                continue
            if self._on_bot is None or self._on_bot(slot, bot.presence):
                bot.passed_on = bot.who
                log.info("bot.presence", slot=str(slot), **dataclasses.asdict(bot.presence))

    def _note_deaths(self, slot: SlotName, bot: KnownBot) -> None:
        """Take `DEATHS` deaths of a bot during an unanswered order as a refusal."""
        pending = self._pending.get(slot)
        if pending is None or bot.answer or bot.deaths < DEATHS:
            return
        bot.answer = "refused"
        order = pending.order
        error = f"it died {DEATHS} times while it was to load it; look at its log"
        log.warning("swap.deadly", slot=str(slot), model_id=order.model_id, bot_id=bot.bot_id)
        ack = SwapAck(
            swap_id=order.swap_id,
            model_id=order.model_id,
            status="refused",
            error=error,
            bot_id=bot.bot_id,
        )
        self._acknowledge(slot, ack)

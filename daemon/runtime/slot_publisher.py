"""Publish the state and the events of one slot, and write them into the journal."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from daemon.core.slot_troubles import TroubleChanged
from daemon.mqtt.bot_table import KnownBot
from daemon.mqtt.messages import BotState, CommandReply, FeatureMismatch, SlotState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress, RetrainRefusal
from daemon.runtime import event_codec
from daemon.runtime.announcements import Announcements, announced
from daemon.runtime.command_log import append_answer
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from monitor.state import EngineSnapshot

log = structlog.get_logger()


class SlotPublisher:
    """Publishes and journals the events of one slot.

    Args:
        slot: The slot.
        store: Holds the journal.
        tried: The same store; a call fails if the disk refuses, and does not wait.
        announcements: Tells the listeners in this process too.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
    """

    def __init__(
        self,
        slot: SlotName,
        store: AsyncStore,
        bus: MqttConnection,
        topics: Topics,
        *,
        tried: AsyncStore | None,
        announcements: Announcements | None,
    ) -> None:
        self._slot, self._store, self._bus, self._topics = slot, store, bus, topics
        self._tried = tried or store
        self._announcements = announcements or Announcements()

    async def journal(self, event: events.Event) -> None:
        """Write an event into the journal."""
        kind, fields = event_codec.body(event)
        await self._write(event.at_ms, kind, fields)

    async def journal_now(self, event: events.Event) -> None:
        """Write an event into the journal, without waiting for the disk.

        Raises:
            StoreUnavailable: If the disk refuses it.
        """
        kind, fields = event_codec.body(event)
        await self._tried.call(Store.append_journal, self._slot, event.at_ms, kind, fields)

    def refuse(self, request_id: str, why: str) -> None:
        """Answer a command that is not carried out, without the journal."""
        log.warning("command.refused", slot=str(self._slot), request_id=request_id, why=why)
        self._reply(CommandReply(request_id=request_id, accepted=False, detail=why))

    async def tell(self, order: actions.Alert | actions.Publish | actions.Reply) -> None:
        """Log, journal and publish a message of the engine."""
        match order:
            case actions.Alert():
                log.warning("alert", slot=str(self._slot), severity=order.severity, why=order.text)
                await self._tell("alert", order, {"severity": order.severity})
            case actions.Publish():
                log.info("slot.event", slot=str(self._slot), kind=order.kind, text=order.text)
                await self._tell(order.kind, order, dict(order.fields))
            case actions.Reply():
                reply = CommandReply(
                    request_id=order.request_id, accepted=order.accepted, detail=order.detail
                )
                self._reply(reply)
                await self._store.call(append_answer, self._slot, order.at_ms, reply)

    def _reply(self, reply: CommandReply) -> None:
        self._bus.publish(self._topics.reply(self._slot), reply)
        self._announcements.answered(reply)

    async def tell_trouble(self, change: TroubleChanged, at_ms: int) -> None:
        """Raise the alert about a trouble of the slot, or tell that it is over, at `at_ms`."""
        order = actions.Alert(
            slot=str(self._slot), at_ms=at_ms, severity="critical", text=change.text
        )
        trouble = {"trouble": change.kind} if change.kind else {}
        if not change.is_over:
            log.warning("alert", slot=order.slot, severity=order.severity, why=order.text)
            await self._tell("alert", order, {"severity": order.severity, **trouble})
            return
        log.info("slot.event", slot=order.slot, kind="trouble_over", text=order.text)
        await self._tell("trouble_over", order, trouble)

    def show(self, state: SlotState) -> None:
        """Publish the state of the slot."""
        self._bus.publish(self._topics.state(self._slot), state, retain=True)

    async def _tell(
        self, kind: str, order: actions.Alert | actions.Publish, fields: dict[str, Any]
    ) -> None:
        whole = {"text": order.text, **fields}
        seq = await self._write(order.at_ms, kind, whole)
        self.announce({"kind": kind, "at_ms": order.at_ms, **whole}, seq)

    def announce(self, message: Mapping[str, Any], seq: int = 0) -> None:
        """Publish a message on the topic of events; `seq` is its entry in the journal, if any."""
        self._bus.publish(self._topics.event(self._slot), message)
        self._announcements.tell(announced(str(self._slot), message, seq))

    async def _write(self, at_ms: int, kind: str, fields: dict[str, Any]) -> int:
        return await self._store.call(Store.append_journal, self._slot, at_ms, kind, fields)


def _bot_state(bot: KnownBot, now: EngineSnapshot) -> BotState:
    online = bot.presence.online
    return BotState(
        bot_id=bot.bot_id,
        online=online,
        model_id=bot.presence.model_id,
        waiting_for=bot.presence.waiting_for,
        silent_since_ms=now.speakers.get(bot.bot_id) if online else None,
        answer=bot.answer,
    )


def slot_state(
    now: EngineSnapshot,
    *,
    last_bar_t: int | None,
    lag_ms: int | None,
    retrain: RetrainProgress | None,
    trouble: str,
    labels: str,
    challenge: ChallengeProgress | None = None,
    bots: Iterable[KnownBot] = (),
) -> SlotState:
    """Return the state of a slot, as it is published.

    Args:
        now: The state of the engine.
        last_bar_t: Open time of the newest scored bar, ms UTC; None before the first.
        lag_ms: How late that bar was scored, or the next one is by now, ms.
        retrain: How far a retrain is, None if none runs.
        trouble: What the slot lacks, empty if nothing.
        labels: What the live version's labels are, empty before the first one.
        challenge: The quick challenger that waits or runs, None if none does.
        bots: The bots that were heard of.
    """
    return SlotState(
        phase=now.phase,
        model_id=now.model_id,
        model_age_s=now.model_age_s,
        win_rate=now.win_rate,
        trades=now.trades,
        last_bar_t=last_bar_t,
        lag_ms=lag_ms,
        retrain=retrain,
        challenge=challenge,
        pnl_7d=now.pnl_7d,
        trades_before=now.trades_before,
        earning=now.earning,
        speaking=now.speaking,
        waiting_for=now.waiting_for,
        trouble=trouble,
        labels=labels,
        live_since_ms=now.live_since_ms,
        live_reason=now.live_reason,
        may_retrain_ms=now.may_retrain_ms,
        causes=now.causes,
        win_rate_of=now.win_rate_of,
        win_rate_count=now.win_rate_count,
        probation_ends_ms=now.probation_ends_ms,
        objection=now.objection,
        bots=tuple(_bot_state(bot, now) for bot in bots),
        probation=now.probation,
        **_converted(now),
    )


def _converted(now: EngineSnapshot) -> dict[str, Any]:
    """Return what the state says in other types than the engine."""
    return {
        "drift": {name: round(score, 4) for name, score in now.drift.items()},
        "mismatch": FeatureMismatch(**dataclasses.asdict(now.mismatch)) if now.mismatch else None,
        "refusal": RetrainRefusal(**dataclasses.asdict(now.refusal)) if now.refusal else None,
    }

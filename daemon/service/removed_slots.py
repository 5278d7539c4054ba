"""Clear what a slot left on the broker, after it was removed from the configuration.

A retained order would be obeyed by each bot that starts, for ever, and a retained state would
be shown as if somebody kept it fresh. Only slots that the journal of this daemon knows are
cleared: another daemon may serve others. What a star may still stand for is left until its coins
are chosen.
"""

import asyncio
from collections.abc import Collection

import structlog

from daemon.config.schema import Config
from daemon.config.slot_entries import may_come
from daemon.mqtt.messages import PayloadReader
from daemon.store import journal_table
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


async def known_slots(store: AsyncStore) -> list[SlotName]:
    """Return the slots that were ever served."""
    return await store.call(_known)


async def clear_removed_slots(
    known: Collection[SlotName],
    bus: MqttConnection,
    topics: Topics,
    configured: Collection[SlotName],
    config: Config,
) -> list[SlotName]:
    """Clear the retained topics of slots that are not configured any more.

    Args:
        known: The slots that may have left something.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        configured: The slots that are served.
        config: Its stars may stand for more of them soon.

    Returns:
        The slots that are left as they are until the coins of a star are chosen.
    """
    gone = [slot for slot in known if slot not in configured]
    held = await asyncio.to_thread(may_come, config, gone)
    if removed := [slot for slot in gone if slot not in held]:
        clear_slots(removed, bus, topics, configured)
    return held


def clear_slots(
    removed: Collection[SlotName],
    bus: MqttConnection,
    topics: Topics,
    configured: Collection[SlotName],
) -> None:
    """Clear the retained topics of slots.

    Args:
        removed: The slots.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        configured: The slots that are served; it may change, as one may come back.
    """
    payloads = PayloadReader()

    def forget_if_gone(topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        """Leave the presence of a bot that is online: it lives, and `doctor` names it."""
        found = topics.slot_of(topic)
        if found is None or found[0] in configured:
            return
        presence = payloads.read(topic, payload, BotPresence) if payload else None
        if presence is not None and not presence.online:
            bus.publish(topic, None, retain=True)

    for slot in removed:
        for topic in (topics.model(slot), topics.state(slot)):
            bus.publish(topic, None, retain=True)
        for presences in topics.bots(slot):
            bus.subscribe(presences, forget_if_gone)
    log.info("slots.removed", slots=[str(slot) for slot in removed])


def _known(store: Store) -> list[SlotName]:
    return journal_table.scored_slots(store.database)

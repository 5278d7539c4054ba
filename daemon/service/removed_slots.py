"""Clear what a slot left on the broker, after it was removed from the configuration.

A retained order would be obeyed by each bot that starts, for ever, and a retained state would
be shown as if somebody kept it fresh. Only slots that the journal of this daemon knows are
cleared: another daemon may serve others.
"""

from collections.abc import Collection

import structlog

from daemon.mqtt.messages import PayloadReader
from daemon.store import journal_table
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


async def clear_removed_slots(
    store: AsyncStore, bus: MqttConnection, topics: Topics, configured: Collection[SlotName]
) -> list[SlotName]:
    """Clear the retained topics of slots that are not configured any more; return the slots.

    Args:
        store: Holds the journal.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        configured: The slots that are served.
    """
    removed = [slot for slot in await store.call(_known) if slot not in configured]
    if removed:
        clear_slots(removed, bus, topics, configured)
    return removed


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

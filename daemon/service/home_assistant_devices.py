"""Keep Home Assistant's devices as the configuration says: one for each slot, or none.

What was published is retained, so it outlives the daemon. The store keeps the topics until the
broker has forgotten them: a slot that is gone, or a daemon that is switched off, leaves no device.
"""

from collections.abc import Collection, Iterable

import msgspec
import structlog

from daemon.config.schema import Config
from daemon.mqtt.home_assistant import discovery
from daemon.store import properties
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_PROPERTY = "home_assistant_topics"


async def announce_devices(
    config: Config,
    store: AsyncStore,
    bus: MqttConnection,
    version: str,
    held: Collection[SlotName] = (),
) -> None:
    """Publish the devices, and clear those that are no longer; return when the broker has it all.

    Args:
        config: Its `[mqtt]` says whether there are devices.
        store: Remembers what was published.
        bus: The connection to the broker.
        version: The version of hyperdrift.
        held: Slots that are not served yet; a device that one has already is left.
    """
    wanted = dict(_devices(config, version))
    topics = Topics(config.mqtt.prefix)
    spared = {discovery(slot, topics, version)[0] for slot in held if config.mqtt.homeassistant}
    known = await store.call(_published)
    if not wanted and not known:
        return
    if not wanted.keys() <= known:
        await store.call(_remember, known | wanted.keys())
    gone = sorted(known - wanted.keys() - spared)
    for topic in gone:
        bus.publish(topic, None, retain=True)
    for topic, payload in wanted.items():
        bus.publish(topic, payload, retain=True)
    if gone:
        log.info("home_assistant.cleared", topics=gone)
    await bus.flush()
    if gone:
        await store.call(_remember, wanted.keys() | (known & spared))


def _devices(config: Config, version: str) -> Iterable[tuple[str, object]]:
    if not config.mqtt.homeassistant:
        return
    signed = bool(config.mqtt.command_keys)
    if signed:
        log.info("home_assistant.no_buttons", why="mqtt.command_keys takes signed commands only")
    topics = Topics(config.mqtt.prefix)
    for section in config.slots:
        yield discovery(section.name, topics, version, buttons=not signed)


def _published(store: Store) -> set[str]:
    text = properties.read(store, _PROPERTY)
    return set(msgspec.json.decode(text, type=list[str])) if text else set()


def _remember(store: Store, topics: Iterable[str]) -> None:
    """Write down where something is retained.

    Raises:
        StoreUnavailable: If the disk refuses it.
    """
    properties.write(store, _PROPERTY, msgspec.json.encode(sorted(topics)).decode())

from pathlib import Path
from typing import Any

from daemon.config.followed_coins import write_followed
from daemon.config.schema import Config, DaemonSection
from daemon.config.slot_entries import SlotEntry
from daemon.service.removed_slots import clear_removed_slots, known_slots
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.daemon.brokers import Embedded, Mosquitto, connection, until

TOPICS = Topics()
BTC, ETH, SOL = (SlotName(coin, "5m") for coin in ("BTC", "ETH", "SOL"))


async def test_a_removed_slot_leaves_nothing_but_bots_that_live_and_other_daemons_slots(
    broker: Mosquitto | Embedded,
) -> None:
    store = Store(":memory:")
    for slot in (BTC, ETH):  # this daemon scored both; SOL is another daemon's
        store.append_journal(slot, 5, "BarScored", {"t": 5})
    async with connection(broker.url) as bus:
        for slot in (BTC, ETH, SOL):
            for topic in (TOPICS.model(slot), TOPICS.state(slot)):
                bus.publish(topic, {"of": str(slot)}, retain=True)
            for bot_id, online in (("gone", False), ("here", True)):
                presence = BotPresence(online=online, bot_id=bot_id)
                bus.publish(TOPICS.bot(slot, bot_id), presence, retain=True)
        await bus.flush()
    async with connection(broker.url) as ours:
        known = await known_slots(ThreadedStore(store))
        assert await clear_removed_slots(known, ours, TOPICS, [BTC], Config()) == []
        left = {TOPICS.bot(ETH, "here")}
        for slot in (BTC, SOL):
            left |= {TOPICS.model(slot), TOPICS.state(slot)}
            left |= {TOPICS.bot(slot, "gone"), TOPICS.bot(slot, "here")}
        kept = set[str]()
        for _ in range(100):
            kept = await _retained(broker.url, left)
            if kept == left:
                break
        assert kept == left


class Bus:
    """Keeps at which topics something was cleared."""

    def __init__(self) -> None:
        self.cleared = list[str]()

    def publish(self, topic: str, payload: object, *, retain: bool) -> None:
        assert (payload, retain) == (None, True)
        self.cleared.append(topic)

    def subscribe(self, *_: object) -> None:
        """Hear nothing."""


async def test_what_a_star_may_still_stand_for_is_left_until_its_coins_are_chosen(
    tmp_path: Path,
) -> None:
    star = SlotEntry(coin="*", exclude=("SOL",))
    config = Config(slots=(), entries=(star,), daemon=DaemonSection(data_dir=str(tmp_path)))
    bus: Any = Bus()
    known = [BTC, ETH, SOL, SlotName("BTC", "1h")]
    held = await clear_removed_slots(known, bus, TOPICS, [], config)
    assert held == [BTC, ETH]
    assert bus.cleared == [
        topic(slot) for slot in known[2:] for topic in (TOPICS.model, TOPICS.state)
    ]
    bus.cleared.clear()
    assert await clear_removed_slots(held, bus, TOPICS, [], config) == held
    assert bus.cleared == []
    write_followed(tmp_path, {"5m": ("BTC",)})
    assert await clear_removed_slots(held, bus, TOPICS, [BTC], config) == []
    assert bus.cleared == [TOPICS.model(ETH), TOPICS.state(ETH)]


async def _retained(url: str, least: set[str]) -> set[str]:
    """Return the topics at which a broker keeps something."""
    kept = set[str]()
    async with connection(url) as ear:
        ear.subscribe(
            f"{TOPICS.prefix}/#", lambda t, body, held: kept.add(t) if body and held else None
        )
        await until(lambda: least <= kept)
    return kept

from daemon.service.removed_slots import clear_removed_slots
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
        removed = await clear_removed_slots(ThreadedStore(store), ours, TOPICS, [BTC])
        assert removed == [ETH]
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


async def _retained(url: str, least: set[str]) -> set[str]:
    """Return the topics at which a broker keeps something."""
    kept = set[str]()
    async with connection(url) as ear:
        ear.subscribe(
            f"{TOPICS.prefix}/#", lambda t, body, held: kept.add(t) if body and held else None
        )
        await until(lambda: least <= kept)
    return kept

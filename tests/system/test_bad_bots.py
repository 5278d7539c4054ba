"""Bots that refuse, hang, or die of a new model, as processes of their own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.command_log import CommandLog
from daemon.runtime.inbox import Inbox
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.serving import Serving
from daemon.runtime.slot_runner import SlotRunner
from daemon.runtime.swap import SwapCoordinator
from daemon.runtime.trades import TradeBook
from daemon.scoring.feature_computers import Builtin
from daemon.scoring.scorer import Scorer
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from daemon.training.training import Training
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.engine import Engine
from monitor.events import CommandReceived
from monitor.policy import PolicySettings
from retrain import features
from tests.captured import capture_logs
from tests.daemon.brokers import Embedded, until
from tests.daemon.mines import Mined
from tests.daemon.versions import fitted, write_version

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
START_T = 4_000_000_000_000 // 300_000 * 300_000  # no bar is late: all of them are yet to come
BOT = """
import asyncio, sys
from pathlib import Path
from hyperdrift.slot import ModelSlot
async def main():
    slot = ModelSlot(sys.argv[1], "BTC-5m", bot_id="bad", public_key=Path(sys.argv[2]))
    await slot.start()
    while True:
        if slot.model_id:
            slot.publish_prediction(1_760_000_000_000, slot.predict([0.0] * 17))
        await asyncio.sleep(0.05)
asyncio.run(main())
"""


class HastyClock(SystemClock):
    """Patience passes thirty times as fast."""

    def monotonic(self) -> float:
        return 30 * super().monotonic()


@dataclass
class House:
    """A keeper with a live model, and a second one that is mined."""

    keeper: SlotRunner
    inbox: Inbox
    store: ThreadedStore
    registry: Registry
    broker: Embedded
    public_key: Path
    models: list[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def live(self) -> str:
        manifest = self.registry.live(SLOT)
        return manifest.model_id if manifest is not None else ""

    @contextlib.asynccontextmanager
    async def bot(self, mine: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BOT, self.broker.url, str(self.public_key)),
            env=os.environ | {"MINE": mine, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def promote(self) -> None:
        self.inbox.put_nowait(
            CommandReceived(
                slot=str(SLOT),
                at_ms=1_760_000_000_000,
                request_id="1",
                command="promote",
                reason="try",
                model_id=self.models[1],
            )
        )

    async def close_bars(self, count: int, *, answered: bool) -> None:
        """Let bars close, one after the other, and the bot say something after each."""
        newest = await self.store.call(Store.newest_t, SLOT)
        first = START_T if newest is None else newest + SLOT.interval_ms
        for t in range(first, first + count * SLOT.interval_ms, SLOT.interval_ms):
            bar = Bar(t, 100.0, 101.0, 99.0, 100.0, 1.0, 1)
            await self.store.call(Store.put_bars, SLOT, [bar], Provenance.REST)
            await self.inbox.put(bar)
            heard = len(self.answers)
            while self.keeper.state().last_bar_t != t or (answered and len(self.answers) == heard):
                await asyncio.sleep(0.01)

    async def falls_silent(self) -> None:
        """Wait until what the bot said before it was stopped has all arrived."""
        heard = -1
        while len(self.answers) != heard:
            heard = len(self.answers)
            await asyncio.sleep(0.5)

    def told(self, kind: str, text: str) -> bool:
        return any(event["kind"] == kind and text in event["text"] for event in self.events)


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr("daemon.mqtt.bot_table.MISSED", 1000)  # the bots' hearts beat no faster
    private, public = tmp_path / "keys" / "key", tmp_path / "keys" / "key.pub"
    generate(private, public)
    signer = Signer.load(private)
    registry = Registry(tmp_path / "models", signer)
    mined = Mined(fitted(2))
    written = (write_version(tmp_path / "new", 1), write_version(tmp_path / "new", 2, model=mined))
    models = [registry.adopt(SLOT, path) for path in written]
    registry.deploy(SLOT, models[0], reason="first", by="test", at_ms=1_750_000_000_000)
    broker = Embedded(tmp_path)
    await broker.start()
    bus, clock = (
        MqttConnection(BrokerAddress.parse(broker.url), SystemClock(), encode=encode),
        SystemClock(),
    )
    store = ThreadedStore(Store(":memory:"))
    keeper, inbox, swap = _keeper(bus, registry, signer, VenueClock(clock, 1.0), store)
    made_house = House(keeper, inbox, store, registry, broker, public, models)
    ear = MqttConnection(BrokerAddress.parse(broker.url), clock, encode=encode)
    ear.subscribe(TOPICS.event(SLOT), partial(_keep, made_house.events.append))
    ear.subscribe(
        TOPICS.prediction(SLOT), partial(_keep, lambda m: made_house.answers.append(m["model_id"]))
    )
    ready = asyncio.Event()
    tasks = [
        asyncio.create_task(work)
        for work in (bus.run(), ear.run(), keeper.run(ready.set), swap.run())
    ]
    async with asyncio.timeout(90):
        await asyncio.gather(bus.wait_connected(), ear.wait_connected(), ready.wait())
    yield made_house
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.stop()


def _keep(keep: Callable[[dict[str, Any]], None], _topic: str, payload: bytes, _kept: bool) -> None:
    keep(msgspec.json.decode(payload))


def _keeper(
    bus: MqttConnection, registry: Registry, signer: Signer, venue: VenueClock, store: ThreadedStore
) -> tuple[SlotRunner, Inbox, SwapCoordinator]:
    inbox = Inbox()
    clock = HastyClock()
    audit, book = CommandLog(store, clock, venue), TradeBook(venue)
    router = MessageRouter(
        {SLOT: inbox}, bus, TOPICS, clock=clock, venue=venue, audit=audit, book=book
    )
    swap = SwapCoordinator(
        bus,
        TOPICS,
        clock,
        on_ack=router.acknowledged,
        on_silence=router.alert,
        on_bot=router.bot_seen,
        signer=signer,
    )
    swap.watch(SLOT)
    settings = PolicySettings(max_age_days=0.0)
    keeper = SlotRunner(
        SLOT,
        inbox,
        make_engine=lambda bars: Engine(
            str(SLOT), settings, interval_ms=300_000, names=features.NAMES, history_bars=bars
        ),
        serving=Serving(SLOT, registry, swap, clock=clock, venue=venue),
        training=cast("Training", None),  # nothing is trained here
        scorer=Scorer(SLOT, Builtin(SLOT, store)),
        store=store,
        bus=bus,
        topics=TOPICS,
        venue=venue,
        compatibility=BotCompatibility(),
    )
    router.listen()
    return keeper, inbox, swap


async def test_a_bot_that_refuses_puts_the_pointer_back_and_goes_on_answering(house: House) -> None:
    first, second = house.models
    async with house.bot("raise"):
        await until(lambda: first in house.answers)
        house.promote()
        await until(lambda: house.told("alert", f"bot bad refused {second}"))
        await until(lambda: house.live == first)
        await until(lambda: house.told("rolled_back", first))
        heard = len(house.answers)
        await until(lambda: len(house.answers) > heard + 3)
    assert set(house.answers) == {first}


async def test_a_bot_that_hangs_is_asked_again_and_then_told_of_and_the_old_model_answers(
    house: House,
) -> None:
    first, second = house.models
    async with house.bot("hang"):
        await until(lambda: first in house.answers)
        house.promote()
        await until(lambda: house.told("alert", f"order to load {second} after 3 repeats"))
        heard = len(house.answers)
        await until(lambda: len(house.answers) > heard + 3)
    assert set(house.answers) == {first}


async def test_a_bot_that_dies_of_a_model_three_times_gets_the_old_one_back(house: House) -> None:
    first, second = house.models
    async with house.bot("die") as process:
        await until(lambda: first in house.answers)
        house.promote()
        await asyncio.wait_for(process.wait(), 60)
    for _ in range(2):  # its service manager starts it again
        async with house.bot("die") as process:
            await asyncio.wait_for(process.wait(), 60)
    await until(lambda: house.told("alert", "it died 3 times"))
    await until(lambda: house.live == first)
    house.answers.clear()
    async with house.bot("die"):
        await until(lambda: house.answers)
    assert set(house.answers) == {first}
    assert house.told("swap_refused", second)


async def test_an_order_without_a_bot_is_loaded_by_the_one_that_comes_later(house: House) -> None:
    _, second = house.models
    house.promote()
    await until(lambda: house.live == second)
    async with house.bot(""):
        await until(lambda: second in house.answers)


async def test_a_bot_that_stops_to_predict_is_told_of_with_what_to_do_until_it_predicts_again(
    house: House,
) -> None:
    with capture_logs() as logs:
        async with house.bot("") as process:
            await until(lambda: house.answers)
            await house.close_bars(6, answered=True)
            process.send_signal(signal.SIGSTOP)
            await house.falls_silent()
            await house.close_bars(3, answered=False)
            assert not house.told("alert", "no prediction")
            await house.close_bars(5, answered=False)
            await until(lambda: house.told("alert", "no prediction since 20"))
            assert house.told("alert", "for 3 closed bars: see in its log whether it hangs")
            process.send_signal(signal.SIGCONT)
            await until(lambda: house.told("bot_speaks", "bot bad predicts again"))
            await house.close_bars(6, answered=True)
    lines = [(e["event"], e["log_level"]) for e in logs if e["event"].startswith("bot.s")]
    assert lines == [("bot.silent", "warning"), ("bot.speaks", "info")]
    assert len([event for event in house.events if event["kind"] == "bot_silent"]) == 1

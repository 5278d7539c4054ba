"""What a keeper remembers of its bot over a restart, which is another keeper on the same store."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from daemon.config.schema import Config, SwapSection
from daemon.core.bars import Bar, Funding, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import RetrainFailedError
from daemon.core.slot_troubles import TroubleChanged
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.runtime.inbox import BotPrediction, HistoryFetched, Inbox
from daemon.runtime.serving import Serving
from daemon.runtime.slot_runner import SlotRunner, SlotStart
from daemon.scoring.feature_computers import Builtin, Computer, Rows
from daemon.scoring.scorer import Scorer
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from daemon.training.retrain_queue import RetrainQueue
from daemon.training.training import Training
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.actions import StartRetrain
from monitor.engine import Engine
from monitor.events import ModelServed
from monitor.policy import PolicySettings
from retrain import features
from tests.captured import capture_logs
from tests.daemon.brokers import until
from tests.fakes import FakeClock

SLOT, STEP = SlotName("BTC", "5m"), 300_000
START_T = 1_750_000_200_000
BOT = BotPresence(online=True, bot_id="b")


@dataclass
class Broker:
    """A connection that keeps events, and the newest bar that a state shows: it is done then."""

    connected: bool = True
    last_bar_t: int | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, topic: str, payload: Any, **_: object) -> None:
        if topic.endswith("/event"):
            self.events.append(payload)
        elif topic.endswith("/state"):
            self.last_bar_t = payload.last_bar_t

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]


class Nothing:
    """No model is live, and none is missed."""

    champion = shadow = pointer = None
    lost = labels_told = ""
    bots = ()

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> dict[str, Any]:
        return {"slot": str(SLOT), "at_ms": self._clock.ms}

    async def is_whole(self) -> bool:
        return True

    async def resume(self, *_: object) -> None:
        return None


class Ones(Builtin):
    """Every feature is one; none lacks a past."""

    async def row(self, t: int) -> Rows:
        return np.ones(len(features.NAMES))


@dataclass
class Life:
    """One life of a daemon."""

    keeper: SlotRunner
    inbox: Inbox
    clock: FakeClock
    store: ThreadedStore
    broker: Broker

    async def bars(self, first: int, count: int, *, late_ms: int = 3000) -> None:
        for t in range(START_T + first * STEP, START_T + (first + count) * STEP, STEP):
            bar = Bar(t, 100.0, 101.0, 99.0, 100.0, 1.0, 1)
            await self.store.call(Store.put_bars, SLOT, [bar], Provenance.REST)
            self.clock.ms = t + STEP + late_ms
            await self.inbox.put(bar)
            while self.broker.last_bar_t != t:
                await asyncio.sleep(0.001)

    def predict(self, t: int, row: tuple[float, ...] | None = None) -> bool:
        return self.inbox.put_nowait(BotPrediction(t, row, self.clock.ms))

    async def greet(self) -> None:
        await self.inbox.put(BOT)


@asynccontextmanager
async def life(
    store: ThreadedStore,
    clock: FakeClock,
    broker: Broker,
    computer: Computer | None = None,
    *,
    training: object = None,
    min_bars: int = 10**9,
    start: SlotStart | None = None,
    serving: Nothing | None = None,
) -> AsyncIterator[Life]:
    settings = PolicySettings(min_bars=min_bars)
    inbox = Inbox()
    keeper = SlotRunner(
        SLOT,
        inbox,
        make_engine=lambda bars: Engine(
            str(SLOT), settings, interval_ms=STEP, names=features.NAMES, history_bars=bars
        ),
        serving=cast("Serving", serving or Nothing(clock)),
        training=cast("Training", training),
        store=store,
        scorer=Scorer(SLOT, computer or Builtin(SLOT, store)),
        bus=cast("Any", broker),
        topics=Topics(),
        venue=VenueClock(clock),
        compatibility=BotCompatibility(),
    )
    ready = asyncio.Event()
    task = asyncio.create_task(keeper.run(ready.set, start))
    await (start.rebuilt if start else ready).wait()
    try:
        yield Life(keeper, inbox, clock, store, broker)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_bot_that_falls_silent_is_told_of_once_however_often_the_daemon_starts() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    with capture_logs() as logs:
        async with life(store, clock, broker) as first:
            await first.greet()
            await first.bars(0, 1)
            first.predict(START_T)
            await first.bars(1, 2)
        async with life(store, clock, broker) as second:
            await second.greet()
            await second.bars(3, 3)
            assert "alert" not in broker.kinds()  # a restart gives it time
            await second.bars(6, 1)
            await until(lambda: "alert" in broker.kinds())
        async with life(store, clock, broker) as third:
            await third.greet()
            await third.bars(7, 10)
            third.predict(START_T)
            await until(lambda: "bot_speaks" in broker.kinds())
    assert broker.kinds().count("alert") == broker.kinds().count("bot_silent") == 1
    assert [e["event"] for e in logs if e["event"].startswith("bot.")] == [
        "bot.silent",
        "bot.speaks",
    ]
    store.close()


async def test_bars_at_the_edge_of_the_possible_are_scored_and_a_damaged_one_stops_nothing() -> (
    None
):
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    past = features.WARMUP_BARS
    kinds = [(1e-12, 1e12, 1e18), (1e12, 1e12, 0.0), (1e-12, 1e-12, 1e-8), (100.0, 101.0, 7.0)]
    some = []
    for k in range(past + 6):
        low, high, volume = kinds[k % 4]
        some.append(Bar(START_T + k * STEP, low, high, low, high, volume))
    assert not [bar for bar in some if bar.fault()]
    await store.call(Store.put_bars, SLOT, some, Provenance.REST)
    await store.call(Store.put_funding, "BTC", [Funding(START_T - STEP, 1e-5)])
    damaged = some[-2].t
    with store.store.database.writing() as db:
        db.execute("UPDATE bars SET high = 1e300 WHERE t = ?", (damaged,))
    async with life(store, clock, broker) as only:
        for bar in some[past:]:
            clock.ms = bar.t + STEP
            await only.inbox.put(bar)
            await until(lambda t=bar.t: broker.last_bar_t == t)  # type: ignore[misc]
    rows = {e.body["t"]: e.body["row"] for e in store.store.journal(SLOT, kinds=["BarScored"])}
    known = [t for t, row in rows.items() if None not in row]
    assert known == [bar.t for bar in some[past:-2]]
    assert len(rows) == 6
    store.close()


async def test_the_lag_is_of_now_and_grows_while_no_bar_comes() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as only:
        assert only.keeper.state().lag_ms is None
        await only.bars(0, 2)
        assert only.keeper.state().lag_ms == 3000
        clock.ms = START_T + 3 * STEP + 2000  # the next has just closed
        assert only.keeper.state().lag_ms == 3000
        clock.ms = START_T + 15 * STEP
        assert only.keeper.state().lag_ms == 12 * STEP
    async with life(store, clock, broker) as restarted:
        assert restarted.keeper.state().lag_ms == 12 * STEP
    store.close()


async def test_a_slot_without_a_model_says_how_many_bars_it_has_and_decides_once() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as only:
        await only.bars(0, 3)
        says = only.keeper.state().waiting_for
        assert says.startswith("wait: collecting bars: the first model needs 1000000000; 3 are")
    assert broker.kinds() == ["decision"]
    store.close()


async def test_bars_that_come_late_or_while_the_broker_is_away_make_nobody_silent() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as only:
        await only.greet()
        await only.bars(0, 1)
        only.predict(START_T)
        await only.bars(1, 3)
        await only.bars(4, 10, late_ms=STEP)
        broker.connected = False
        await only.bars(15, 10)
        broker.connected = True
        await only.bars(25, 3)
        assert "alert" not in broker.kinds()
        await only.bars(28, 1)
        await until(lambda: "alert" in broker.kinds())
    store.close()


async def test_a_flood_of_other_features_is_an_entry_and_a_count_for_each_bar() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker, Ones(SLOT, store)) as only:
        await only.bars(0, 3)
        for number in range(3):
            for n in range(1000):
                row = tuple(1.0 + n * 1e-6 if name == "rv_1h" else 1.0 for name in features.NAMES)
                only.predict(START_T + number * STEP, row)
        await only.bars(3, 1)
        assert (mismatch := only.keeper.state().mismatch) is not None
        assert (mismatch.bars, mismatch.column) == (3, "rv_1h")
    kinds = [entry.kind for entry in store.store.journal(SLOT)]
    assert kinds.count("FeaturesDiffered") == 3
    assert broker.kinds().count("features_differ") == 1
    store.close()


async def test_a_trouble_of_the_slot_stands_in_its_state_and_in_the_journal_and_is_one_alert() -> (
    None
):
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as alive:
        for change in (TroubleChanged("no candles"), TroubleChanged("no candles", is_over=True)):
            await alive.inbox.put(change)
        await until(lambda: "trouble_over" in broker.kinds())
    told = [(e["kind"], e["text"]) for e in broker.events if e["kind"] != "decision"]
    assert told == [("alert", "no candles"), ("trouble_over", "no candles")]
    kept = store.store.journal(SLOT, kinds=["alert", "trouble_over"])
    assert [entry.body["text"] for entry in kept] == ["no candles", "no candles"]


async def test_a_past_that_comes_after_the_start_counts_for_the_first_model() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as alive:
        await alive.bars(0, 2)
        assert "; 2 are stored" in alive.keeper.state().waiting_for
        past = [Bar(START_T - k * STEP, 1.0, 1.0, 1.0, 1.0, 1.0) for k in range(1, 41)]
        await store.call(Store.put_bars, SLOT, past, Provenance.REST)
        await alive.inbox.put(HistoryFetched())
        await until(lambda: "; 42 are stored" in alive.keeper.state().waiting_for)
        await alive.bars(2, 1)
        assert "; 43 are stored" in alive.keeper.state().waiting_for


class Asked:
    """A training that is asked, and fails."""

    def __init__(self) -> None:
        self.queue, self.jobs = RetrainQueue(), list[str]()

    def reconfigured(self, _: Config) -> "Asked":
        return self

    async def run(self, order: StartRetrain, *_: object, **__: object) -> None:
        self.jobs.append(order.job_id)
        raise RetrainFailedError("enough")


async def test_a_past_that_is_enough_for_the_first_model_begins_its_retrain() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    training = Asked()
    async with life(store, clock, broker, training=training, min_bars=42) as alive:
        await alive.bars(0, 3)
        past = [Bar(START_T - k * STEP, 1.0, 1.0, 1.0, 1.0, 1.0) for k in range(1, 41)]
        await store.call(Store.put_bars, SLOT, past, Provenance.REST)
        await alive.inbox.put(HistoryFetched())  # the rebuilt engine finds 42 at an older bar
        await until(lambda: "retrain_failed" in broker.kinds())
    assert len(training.jobs) == 1
    assert any("it was not begun" in event["text"] for event in broker.events)


async def test_a_past_that_comes_during_the_start_begins_the_first_retrain_too() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    async with life(store, clock, broker) as alive:
        await alive.bars(0, 3)
    training, start = Asked(), SlotStart(asyncio.Event())
    again = life(store, clock, broker, training=training, min_bars=42, start=start)
    async with again as alive:
        past = [Bar(START_T - k * STEP, 1.0, 1.0, 1.0, 1.0, 1.0) for k in range(1, 41)]
        await store.call(Store.put_bars, SLOT, past, Provenance.REST)
        start.goes_on.set()
        await alive.bars(3, 1)
        await until(lambda: "retrain_failed" in broker.kinds())
    assert len(training.jobs) == 1


async def test_a_reload_during_the_start_holds_though_the_engine_is_rebuilt_after_it() -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    start = SlotStart(asyncio.Event())
    async with life(store, clock, broker, training=Asked(), start=start) as alive:
        alive.keeper.adopt(Config(), PolicySettings(min_bars=77_000))
        past = [Bar(START_T - k * STEP, 1.0, 1.0, 1.0, 1.0, 1.0) for k in range(1, 41)]
        await store.call(Store.put_bars, SLOT, past, Provenance.REST)
        start.goes_on.set()
        await alive.greet()
        await until(lambda: "needs 77000; 40 are" in alive.keeper.state().waiting_for)
    store.close()


class Moved(Nothing):
    """The pointer was moved, and the daemon killed before it could journal that."""

    async def resume(self, *_: object) -> Any:
        return SimpleNamespace(model_id="m1")

    async def found(self, _: object, was_id: str | None) -> ModelServed:
        fields: dict[str, Any] = {"horizon_bars": 12, "threshold": 0.005, "up": 0.4, "down": 0.4}
        return ModelServed(
            **self.now(), model_id="m1", previous_id=was_id, reason="r", trained_to_ms=START_T,
            **fields,
        )  # fmt: skip


async def test_the_command_of_a_deploy_is_run_by_the_start_if_a_kill_came_between(
    tmp_path: Path,
) -> None:
    store, clock, broker = ThreadedStore(Store(":memory:")), FakeClock(ms=START_T), Broker()
    restarts = tmp_path / "restarts"
    code = f"open({str(restarts)!r}, 'a').write('one ')"
    config = Config(swap=SwapSection(on_deploy=(sys.executable, "-c", code)))
    for bar in range(2):
        start, moved = SlotStart(asyncio.Event()), Moved(clock)
        again = life(store, clock, broker, training=Asked(), start=start, serving=moved)
        async with again as alive:
            alive.keeper.adopt(config, PolicySettings())
            start.goes_on.set()
            await until(lambda: restarts.exists() and restarts.read_text())
            await alive.bars(bar, 1)
    assert restarts.read_text() == "one "
    store.close()

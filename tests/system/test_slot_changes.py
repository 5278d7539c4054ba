"""Slots come and go while the daemon runs, and the others miss nothing."""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from daemon.app import run
from daemon.config import loader
from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Delisted, ShortMeta, Unlisted
from daemon.demo.market import generate
from daemon.demo.processes import DemoProcess
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.listed_coins import ListedCoins
from daemon.market_data.silence import SilenceWatch
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.service.venue_greeting import greet
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from tests import virtual_time
from tests.captured import capture_logs
from tests.daemon.brokers import Mosquitto, connection, until
from tests.daemon.versions import write_version
from tests.link import Link
from tests.ports import free_port
from tests.system.faulty_feed import NOW_MS, SLOTS, SPEED, START_MS, STEP, Run, recordings
from tests.system.venue import LONG_AGO_MS
from tests.virtual_time import InlineStore, LoopClock

BTC, ETH = SLOTS


def beside_btc(work: Callable[[Run, ListedCoins, SlotTroubles], Awaitable[None]]) -> None:
    """Follow BTC alone in virtual time, and run `work` beside it."""

    async def stage() -> None:
        clock, troubles = LoopClock(NOW_MS), SlotTroubles()
        venue, store = VenueClock(clock, SPEED), InlineStore(Store(":memory:"))
        with capture_logs() as logs:
            async with (
                ReplayExchange(recordings(), clock, speed=SPEED, start_ms=NOW_MS) as exchange,
                Link(exchange.url) as link,
                RestClient(exchange.url, clock, venue) as rest,
            ):
                listed = ListedCoins(Listings(rest), [BTC], clock, venue, troubles)
                await greet(rest, listed, clock, venue, lambda _: None)
                stream = CandleStream(exchange.ws_url, clock, [BTC])
                feed = Feed(rest, stream, store, venue, [BTC], listed=listed, troubles=troubles)
                await feed.backfill({BTC: START_MS})
                run = Run(exchange, feed, rest, store, venue, logs, link)
                silence = SilenceWatch(feed, troubles, venue)
                jobs = [feed.run(), run.drain(), run.keep_time(), silence.run()]
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(job) for job in jobs]
                    await work(run, listed, troubles)
                    for task in running:
                        task.cancel()
        store.close()

    virtual_time.run(stage())


async def pass_bars(run: Run, bars: float) -> None:
    await run.until(NOW_MS + bars * STEP)


def late_of(run: Run, slot: SlotName) -> list[object]:
    return [line for line in run.logged("feed.bar_late") if line["slot"] == str(slot)]


def test_a_slot_that_is_added_removed_and_added_again_has_every_bar_and_so_has_the_other() -> None:
    async def work(run: Run, listed: ListedCoins, troubles: SlotTroubles) -> None:
        await pass_bars(run, 2.5)
        await listed.add([ETH])
        run.feed.add(ETH, START_MS)
        assert await anext(run.feed.filled_late()) == ETH
        await pass_bars(run, 6)
        assert run.wrong(ETH) == []
        before = len(run.emitted[ETH])
        assert before >= 3
        await run.feed.remove(ETH)
        listed.remove(ETH)
        assert run.feed.slots == (BTC,)
        await pass_bars(run, 20)
        assert len(run.emitted[ETH]) == before, "nobody follows it any more"
        assert max(run.outcome(ETH).stored) < NOW_MS + 7 * STEP
        await listed.add([ETH])
        run.feed.add(ETH, START_MS)
        await pass_bars(run, 24)
        for slot in SLOTS:
            assert run.wrong(slot) == [], "the hole of the meantime is filled, in order"
            assert troubles.of(slot) == ""
        assert late_of(run, BTC) == []

    beside_btc(work)


def test_a_coin_that_is_added_under_a_wrong_name_is_a_trouble_of_its_slot_alone() -> None:
    async def work(run: Run, listed: ListedCoins, troubles: SlotTroubles) -> None:
        wrong = SlotName("NOPE", "5m")
        run.emitted[wrong] = []
        await pass_bars(run, 1.5)
        await listed.add([wrong])
        run.feed.add(wrong, START_MS)
        await pass_bars(run, 5)
        assert "NOPE" in troubles.of(wrong)
        assert run.wrong(BTC) == []
        assert late_of(run, BTC) == []
        await run.feed.remove(wrong)
        listed.remove(wrong)
        await pass_bars(run, 6)
        assert run.wrong(BTC) == []

    beside_btc(work)


def pushed_to(run: Run) -> set[str]:
    """Return the coins of the candles that the exchange pushes."""
    clients = run.exchange._clients
    return {held.coin for client in clients for held in client.held}


def test_the_venue_pushes_no_candles_of_a_slot_that_is_gone_and_those_of_one_that_is_back() -> None:
    async def work(run: Run, listed: ListedCoins, troubles: SlotTroubles) -> None:
        for gone_for in (1, 6):  # a bar lasts twenty seconds
            await listed.add([ETH])
            run.feed.add(ETH, START_MS)
            await pass_bars(run, run.bars + 2)
            assert pushed_to(run) == {"BTC", "ETH"}
            await run.feed.remove(ETH)
            listed.remove(ETH)
            await pass_bars(run, run.bars + gone_for)
            assert pushed_to(run) == ({"BTC", "ETH"} if gone_for == 1 else {"BTC"})
        await listed.add([ETH])
        run.feed.add(ETH, START_MS)
        await pass_bars(run, run.bars + 3)
        assert pushed_to(run) == {"BTC", "ETH"}
        assert [run.wrong(slot) for slot in SLOTS] == [[], []]
        assert run.logged("stream.refused") == []
        assert run.feed.venue_state().reconnects == 0

    beside_btc(work)


def test_a_slot_whose_coin_the_venue_does_not_know_any_more_goes_without_the_others_socket() -> (
    None
):
    async def work(run: Run, listed: ListedCoins, troubles: SlotTroubles) -> None:
        await listed.add([ETH])
        run.feed.add(ETH, START_MS)
        await pass_bars(run, 2)
        delisted: list[str] = []
        listed.on_delisted = lambda: delisted.append("ETH")
        span: dict[str, Any] = {
            "at_ms": run.exchange.now_ms() - NOW_MS + 1000,
            "for_ms": 100 * STEP,
            "coin": "ETH",
        }
        run.exchange.add_faults([ShortMeta(**span), Unlisted(**span)])
        listed.doubt("ETH")
        await until(lambda: not listed.is_listed(ETH))
        assert delisted == []
        await run.feed.remove(ETH)
        listed.remove(ETH)
        await pass_bars(run, run.bars + 8)
        assert run.feed.venue_state().reconnects == 0
        assert run.wrong(BTC) == []

    beside_btc(work)


def test_a_delisting_is_told_once_to_who_chooses_the_coins() -> None:
    async def work(run: Run, listed: ListedCoins, troubles: SlotTroubles) -> None:
        told: list[str] = []
        listed.on_delisted = lambda: told.append("a coin")
        at_ms = run.exchange.now_ms() - NOW_MS + 1000
        run.exchange.add_faults([Delisted(at_ms=at_ms, for_ms=100 * STEP, coin="BTC")])
        await pass_bars(run, 1)
        for bars in (2, 4):
            listed.doubt("BTC")
            await pass_bars(run, bars)
            assert told == ["a coin"]
        assert pushed_to(run) == {"BTC"}, "it ends with the socket, and nothing comes of it"

    beside_btc(work)


SPEED_OF_PROCESS = 600.0
BEGIN_MS = 1_750_000_200_000


@dataclass
class Watched:
    """A daemon beside a broker: what the broker keeps, what the page shows, what was logged."""

    folder: Path
    exchange: ReplayExchange
    broker: str
    process: DemoProcess = field(init=False)
    page: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    kept: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        command = ("-m", "daemon.cli", "run", "--config", str(self.folder / "hyperdrift.toml"))
        page = {"HYPERDRIFT_WEB__LISTEN": self.page}  # other tests have none
        self.process = DemoProcess("daemon", command, self.folder, page)

    def configure(self, coins: str, days: float = 3) -> None:
        (self.folder / "hyperdrift.toml").write_text(
            f'[daemon]\ndata_dir = "{self.folder}/data"\n'
            f'[[slots]]\ncoin = {coins}\ninterval = "5m"\nhistory_days = {days}\n'
            f'[mqtt]\nbroker = "{self.broker}"\nhomeassistant = true\n'
            f"[hyperliquid]\nspeed = {SPEED_OF_PROCESS}\n"
            f'rest_url = "{self.exchange.url}"\nws_url = "{self.exchange.ws_url}"\n'
        )
        self.process.signal(signal.SIGHUP)

    def keep(self, topic: str, payload: bytes, _retained: bool) -> None:
        self.kept[topic] = payload

    def of(self, topic: str) -> dict[str, Any]:
        return dict(json.loads(self.kept.get(topic) or b"{}"))

    async def serves(self, *slots: str) -> None:
        status = "hyperdrift/status"
        await until(lambda: self.of(status).get("slots") == list(slots))
        await until(lambda: not self.of(status).get("doing"))
        shown: set[str] = set()
        while shown != set(slots):
            await asyncio.sleep(0.02)
            with contextlib.suppress(aiohttp.ClientConnectionError):  # the page comes last
                shown = await self.shown()

    async def shown(self) -> set[str]:
        """Return the slots on the status page."""
        url = f"http://{self.page}/api/v1/overview"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return {one["slot"] for one in (await answer.json())["slots"]}

    async def measured(self) -> set[str]:
        """Return the slots that the metrics have."""
        url = f"http://{self.page}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return set(re.findall(r'slot="([^"]+)"', await answer.text()))

    async def scores_on(self, slot: SlotName) -> None:
        """Wait for a bar that closes from now on."""
        topic = f"hyperdrift/{slot}/state"
        last_t = self.of(topic).get("last_bar_t") or 0
        await until(lambda: (self.of(topic).get("last_bar_t") or 0) > last_t)

    async def logs(self, event: str) -> None:
        await until(lambda: event in (self.folder / "daemon.log").read_text())


def put_version_live(data: Path, made: Path) -> str:
    registry = Registry(data / "models", own_signer(data), ring=trusted_keys(data))
    model_id = registry.adopt(BTC, write_version(made, 1))
    registry.deploy(BTC, model_id, reason="a test", by="test", at_ms=LONG_AGO_MS)
    return model_id


OF_BTC = ("hyperdrift/BTC-5m/model", "hyperdrift/BTC-5m/state")
DEVICE = "homeassistant/device/hyperdrift/BTC-5m/config"


async def test_a_daemon_takes_slots_in_and_out_at_a_reload_and_the_others_miss_no_bar(
    tmp_path: Path,
) -> None:
    broker, data = Mosquitto(tmp_path), tmp_path / "data"
    await broker.start()
    markets = [generate(9000, STEP, 3, start_ms=BEGIN_MS, coin=coin) for coin in ("BTC", "ETH")]
    begin_ms = BEGIN_MS + 1000 * STEP
    model_id = put_version_live(data, tmp_path / "made")
    exchange = ReplayExchange(markets, SystemClock(), speed=SPEED_OF_PROCESS, start_ms=begin_ms)
    async with exchange, connection(broker.url) as bus, asyncio.timeout(900):
        seen = Watched(tmp_path, exchange, broker.url)
        for topics in ("hyperdrift/#", "homeassistant/#"):
            bus.subscribe(topics, seen.keep)
        seen.configure('"ETH"')
        async with seen.process:
            await seen.serves("ETH-5m")
            assert not any(map(seen.of, OF_BTC))
            seen.configure('["ETH", "BTC"]')
            await seen.serves("ETH-5m", "BTC-5m")
            await until(lambda: seen.of(DEVICE))
            await until(lambda: seen.of(OF_BTC[0]).get("model_id") == model_id)
            await seen.scores_on(BTC)
            seen.configure('["ETH"]', days=-1)
            await seen.logs("config.reload_refused")
            await seen.serves("ETH-5m", "BTC-5m")
            seen.configure('["ETH"]')
            await seen.serves("ETH-5m")
            await until(lambda: not any(map(seen.of, (*OF_BTC, DEVICE))))
            await seen.scores_on(ETH)
            assert {"ETH-5m"} == await seen.measured(), "no series stands still"
            assert not any(map(seen.of, OF_BTC))
            seen.configure('["ETH", "BTC"]')
            await seen.serves("ETH-5m", "BTC-5m")
            await seen.scores_on(BTC)
            await until(lambda: seen.of(OF_BTC[0]).get("model_id") == model_id)
    await broker.stop()
    with open_store(data, read_only=True) as store:
        for slot in SLOTS:
            scored = [entry.body["t"] for entry in store.journal(slot, kinds=["BarScored"])]
            assert set(np.diff(scored)) == {STEP}, "it was not followed for a while, and caught up"


async def test_a_star_follows_what_is_traded_and_knows_it_while_the_venue_is_away(
    tmp_path: Path,
) -> None:
    broker, clock, path = Mosquitto(tmp_path), SystemClock(), tmp_path / "hyperdrift.toml"
    await broker.start()
    coins, begin_ms = ("BTC", "ETH", "SOL"), BEGIN_MS + 600 * STEP
    markets = [generate(4000, STEP, 3, start_ms=BEGIN_MS, coin=coin) for coin in coins]
    exchange = ReplayExchange(markets, clock, speed=SPEED_OF_PROCESS, start_ms=begin_ms)
    events: list[dict[str, Any]] = []

    def configure(exclude: str) -> None:
        path.write_text(
            f'[daemon]\ndata_dir = "{tmp_path}/data"\n[mqtt]\nbroker = "{broker.url}"\n'
            f'[[slots]]\ncoin = "*"\nhistory_days = 1\nmin_volume_usd = 1.0\nexclude = {exclude}\n'
            f"[hyperliquid]\nspeed = {SPEED_OF_PROCESS}\n"
            f'rest_url = "{exchange.url}"\nws_url = "{exchange.ws_url}"\n'
        )

    def start() -> asyncio.Task[None]:
        return asyncio.create_task(run(loader.load(path), clock, lambda: loader.load(path)))

    async with connection(broker.url) as bus, asyncio.timeout(600):
        status: list[dict[str, Any]] = []
        bus.subscribe("hyperdrift/status", lambda _t, body, _r: status.append(json.loads(body)))
        bus.subscribe("hyperdrift/+/event", lambda _t, body, _r: events.append(json.loads(body)))

        def serves(*slots: str) -> bool:
            return bool(status) and set(status[-1].get("slots", [""])) == set(slots)

        def changes() -> set[str]:
            return {one["text"] for one in events if one["kind"] == "slots_changed"}

        async with exchange:
            configure('["SOL"]')
            daemon = start()
            await until(lambda: serves("BTC-5m", "ETH-5m"))
            configure('["SOL", "ETH"]')
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: serves("BTC-5m"))
            await until(changes)
            [told] = changes()
            assert told.endswith("left: ETH (it is excluded)")
            daemon.cancel()
            await asyncio.wait([daemon])
        status.clear()
        daemon = start()
        await until(lambda: serves("BTC-5m") and "venue" in (status[-1].get("doing") or ""))
        daemon.cancel()
        await asyncio.wait([daemon])
    await broker.stop()

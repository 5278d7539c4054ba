"""One function holds every connection: if one dies of a bug, the daemon ends and says why."""

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest

from daemon.app import run
from daemon.config.schema import (
    Config,
    DaemonSection,
    HyperliquidSection,
    MqttSection,
    WebSection,
)
from daemon.mqtt.messages import encode
from daemon.service.broker_connection import connected
from daemon.store.data_folder import open_store
from daemon.store.properties import record_venue, venue_of
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from tests.daemon.brokers import connection, until
from tests.daemon.fake_venue import START, FakeVenue, bar, serving
from tests.ports import free_port


class Broken(MqttConnection):
    """A connection with a bug, as one is that no resolver was written for."""

    async def run(self) -> None:
        await asyncio.sleep(0)
        raise UnicodeError("label empty or too long")


async def test_a_connection_to_the_broker_that_dies_ends_the_daemon() -> None:
    clock = SystemClock()
    bus = Broken(BrokerAddress.parse("mqtt://127.0.0.1:1"), clock, encode=encode)
    async with asyncio.timeout(60):
        with pytest.raises(UnicodeError, match="label empty"):
            async with connected(bus):
                await asyncio.Event().wait()


async def test_a_folder_of_another_venue_is_refused_before_the_venue_is_asked(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path) as store:
        record_venue(store, "mainnet")
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)),
        hyperliquid=HyperliquidSection(rest_url="http://127.0.0.1:9"),
    )
    async with asyncio.timeout(60):
        with pytest.raises(ConfigError, match="set another"):
            await run(config, SystemClock())


async def test_a_daemon_remembers_the_venue_that_answered(tmp_path: Path) -> None:
    async with serving(FakeVenue(now=lambda: START)) as venue, asyncio.timeout(60):
        config = Config(
            daemon=DaemonSection(data_dir=str(tmp_path)),
            hyperliquid=HyperliquidSection(rest_url=venue.url, ws_url="ws://127.0.0.1:9"),
            mqtt=MqttSection(broker="mqtt://127.0.0.1:9"),
            web=WebSection(listen=""),
        )
        daemon = asyncio.create_task(run(config, SystemClock()))
        while not venue.asked("candleSnapshot"):
            await asyncio.sleep(0.02)
        daemon.cancel()
        await asyncio.wait([daemon])
        with open_store(tmp_path) as store:
            assert venue_of(store) == config.hyperliquid.venue
            record_venue(store, "127.0.0.1:1")
        with pytest.raises(ConfigError, match=r"bars of 127\.0\.0\.1:1,"):
            await run(config, SystemClock())


async def test_a_daemon_shows_its_figures_to_prometheus_and_its_slots_to_home_assistant(
    tmp_path: Path,
) -> None:
    page, port, devices = f"127.0.0.1:{free_port()}", free_port(), list[str]()
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)),
        hyperliquid=HyperliquidSection(rest_url="http://127.0.0.1:9"),
        mqtt=MqttSection(port=port, anonymous=True, homeassistant=True),
        web=WebSection(listen=page),
    )
    daemon = asyncio.create_task(run(config, SystemClock()))
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        async with connection(f"mqtt://127.0.0.1:{port}") as bus:
            bus.subscribe("homeassistant/#", lambda topic, _body, _held: devices.append(topic))
            await until(lambda: devices)
        text = ""
        while 'slot="BTC-5m"' not in text:
            await asyncio.sleep(0.05)
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.get(f"http://{page}/metrics") as answer:
                    text = await answer.text()
        daemon.cancel()
        await asyncio.wait([daemon])
    assert devices == ["homeassistant/device/hyperdrift/BTC-5m/config"]
    assert "hyperdrift_ready 0.0" in text
    assert 'hyperdrift_retrains_total{result="passed",slot="BTC-5m"} 0.0' in text


async def test_a_daemon_whose_coin_nobody_trades_says_so_in_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.market_data.silence._LEAST_WALL_S", 0.0)
    speed, clock = 1000.0, SystemClock()
    began = clock.monotonic()
    fake = FakeVenue(now=lambda: START + round((clock.monotonic() - began) * 1000 * speed))
    fake.put(bar(k) for k in range(-50, 1))
    open_store(tmp_path).close()
    async with serving(fake) as venue, asyncio.timeout(60):
        config = Config(
            daemon=DaemonSection(data_dir=str(tmp_path)),
            hyperliquid=HyperliquidSection(
                rest_url=venue.url, ws_url="ws://127.0.0.1:9", speed=speed
            ),
            mqtt=MqttSection(broker="mqtt://127.0.0.1:9"),
            web=WebSection(listen=""),
        )
        daemon = asyncio.create_task(run(config, clock))
        said, alerts = "no trade of BTC since 2025-06-15 15:15 UTC", list[str]()
        while not any(text.startswith(said) for text in alerts):
            await asyncio.sleep(0.05)
            assert not daemon.done()
            with open_store(tmp_path, read_only=True) as store:
                alerts = [entry.body["text"] for entry in store.journal(kinds=["alert"])]
        daemon.cancel()
        await asyncio.wait([daemon])


async def test_the_page_takes_an_order_without_venue_and_broker_and_holds_up_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.app._PATIENCE_S", 0.0)
    monkeypatch.setattr("daemon.web.server.listener._GOODBYE_S", 600.0)
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)),
        hyperliquid=HyperliquidSection(rest_url="http://127.0.0.1:9"),
        mqtt=MqttSection(broker="mqtt://127.0.0.1:9"),
        web=WebSection(listen=f"127.0.0.1:{free_port()}"),
    )
    daemon = asyncio.create_task(run(config, SystemClock()))
    path, token = "api/v1/slots/BTC-5m/commands", tmp_path / "web" / "token"
    async with aiohttp.ClientSession(config.web.url) as program, asyncio.timeout(60):
        while not await answers(program, "healthz"):
            await asyncio.sleep(0.05)
        assert not await answers(program, "readyz")
        bearer = {"Authorization": f"Bearer {token.read_text().strip()}"}
        order = {"command": "pause", "reason": "a test"}
        async with program.post(path, json=order, headers=bearer) as answer:
            assert (await answer.json())["accepted"]
        async with program.get("live?topics=overview,slot-BTC-5m") as stream:
            while b"paused" not in await stream.content.readline():
                pass
            daemon.cancel()
            async with asyncio.timeout(60):
                await asyncio.wait([daemon])
    with open_store(tmp_path) as store:
        (entry,) = store.journal(kinds=["CommandReceived"])
    assert (entry.body["by"], entry.body["reason"]) == ("web (127.0.0.1)", "a test")


async def answers(program: aiohttp.ClientSession, path: str) -> bool:
    """Return whether a path of the page is answered with 200."""
    try:
        async with program.get(path) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False

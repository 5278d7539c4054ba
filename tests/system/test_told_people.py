"""A running daemon tells a person what matters, by a service on this machine and a dead one."""

import contextlib
import json
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from daemon.demo.processes import DemoProcess
from daemon.store import properties
from daemon.store.data_folder import open_store
from hyperdrift.mqtt.messages import SwapAck
from hyperdrift.mqtt.topics import Topics
from tests.daemon.brokers import Mosquitto, connection, until
from tests.daemon.notify.sinks import Sink, sink
from tests.system.venue import SLOT, Host, Listener, host, hyperdrift, two_versions

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto-clients is not installed"
)
EVENT, STATE, ORDER = (f"hyperdrift/{SLOT}/{topic}" for topic in ("event", "state", "model"))
DEAD = "json://127.0.0.1:9/a-secret"
# Messages wait a minute for others of their kind; here half a second.
HASTY = """
import sys
from daemon.notify import delivery, notifier, rules
rules.GATHER_MS, notifier._LOOK_S, delivery.PAUSES_S = 500, 0.1, (0.2,) * 1000
from daemon.cli.main import main
main()
"""


def hasty(machine: Host, urls: Iterable[str]) -> DemoProcess:
    """Return the daemon of the machine, which tells people by these addresses."""
    machine.daemon()  # writes the configuration
    tell_by(machine, urls)
    run = ("run", "--config", str(machine.folder / "hyperdrift.toml"))
    return DemoProcess("daemon", ("-c", HASTY, *run), machine.folder)


def tell_by(machine: Host, urls: Iterable[str]) -> None:
    file = machine.folder / "hyperdrift.toml"
    others = file.read_text().partition("[notify]")[0]
    file.write_text(f"{others}[notify]\nurls = {json.dumps(list(urls))}\n")


async def test_each_news_arrives_once_over_a_dead_service_a_kill_and_a_change_of_address(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        with sink() as phone, sink() as other:
            async with (
                host(tmp_path, broker.url, min_new_bars=1_000_000) as machine,
                Listener(broker.port) as bus,
            ):
                _, one, two = two_versions(machine)
                async with hasty(machine, (at(phone), DEAD)) as daemon:
                    await bus.wait_for(STATE, model_id=one)
                    await models(machine, "promote", two, "--reason", "I know why")
                    await told(phone, f"{SLOT}: model live", "I know why")
                    await a_bot_refuses(broker, bus, two)
                    await told(phone, f"{SLOT}: bot refuses, rolled back", "bot old-bot refused")
                    await the_dead_one_is_told_of(phone, bus)
                    # Killed before it has written down that a message went, it sends it again.
                    await until(lambda: not waiting(machine, "1"))
                    daemon.signal(signal.SIGKILL)
                log = logged(machine)
                assert log.count("notify.failed") == 1
                before = list(phone.got)
                bus.messages.clear()
                async with hasty(machine, (at(phone),)) as daemon:
                    await until(lambda: "daemon.ready" in logged(machine))
                    tell_by(machine, (at(other),))
                    daemon.signal(signal.SIGHUP)
                    await until(lambda: "config.reloaded" in logged(machine))
                    await models(machine, "promote", two, "--reason", "it is mended")
                    await told(other, f"{SLOT}: model live", "it is mended")
                assert phone.got == before
                assert "a-secret" not in log + logged(machine)
    finally:
        await broker.stop()


def logged(machine: Host) -> str:
    return (machine.folder / "daemon.log").read_text()


def waiting(machine: Host, number: str) -> list[str]:
    """Return what is written down as not sent yet to the first or another service."""
    with open_store(machine.data_dir, read_only=True) as store:
        kept = json.loads(properties.read(store, "notify") or "{}")
    boxes = kept["outboxes"].items()
    return [one["title"] for name, box in boxes if name.startswith(number) for one in box]


def at(phone: Sink) -> str:
    return f"json://{phone.place}/ok"


async def models(machine: Host, *words: str) -> None:
    code, _ = await hyperdrift(machine, "models", *words, "--slot", str(SLOT))
    assert code == 0


async def told(phone: Sink, title: str, words: str) -> None:
    """Wait for the message with these words; there is one, and it has this title."""

    def found() -> list[str]:
        return [each["title"] for each in phone.got if words in each["message"]]

    with contextlib.suppress(TimeoutError):
        await until(found)
    assert found() == [title], json.dumps(phone.got, indent=1)


async def a_bot_refuses(broker: Mosquitto, bus: Listener, model_id: str) -> None:
    order = await bus.wait_for(ORDER, model_id=model_id)
    why = "scikit-learn 1.2.3 cannot load it"
    ack = SwapAck(
        swap_id=order["swap_id"], model_id=model_id, status="refused", error=why, bot_id="old-bot"
    )
    async with connection(broker.url) as bot:
        bot.publish(Topics().ack(SLOT), ack)
        await bot.flush()


async def the_dead_one_is_told_of(phone: Sink, bus: Listener) -> None:
    """In the status, in an alert and to the person whom the other service reaches."""
    name = "notify service 2 (json://127.0.0.1)"
    await told(phone, "hyperdrift: needs you", f"{name} takes no messages: it refuses the conn")

    def alerts() -> list[str]:
        return [each["text"] for each in bus.of(EVENT, kind="alert") if name in each["text"]]

    await until(lambda: name in (bus.of("hyperdrift/status")[-1].get("trouble") or ""))
    await until(alerts)
    assert len(alerts()) == 1

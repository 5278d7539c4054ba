"""Brokers as they really are: limits, fewer promises, TLS and names that need care."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import serialization

from daemon.admin import remote_client
from daemon.mqtt.messages import encode
from hyperdrift.clock import SystemClock
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.password_file import read_password
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.captured import Lines, capture_logs
from tests.daemon.brokers import Mosquitto, until
from tests.daemon.secured import _certificate, certify

TOPICS, SLOT = Topics(), SlotName("BTC", "5m")
PEM = serialization.Encoding.PEM


class Configured(Mosquitto):
    """A mosquitto with further lines in its configuration."""

    def __init__(self, folder: Path, *lines: str, tls: bool = False) -> None:
        super().__init__(folder)
        self.tls = tls
        if tls:
            certify(folder)
            names = {"cafile": "ca.crt", "certfile": "broker.crt", "keyfile": "broker.key"}
            lines += tuple(f"{key} {folder / name}" for key, name in names.items())
        with self._config.open("a") as config:
            config.write("".join(f"{line}\n" for line in lines))

    def address(self, user: str = "", **files: Path) -> BrokerAddress:
        scheme = "mqtts" if self.tls else "mqtt"
        url = f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}"
        return BrokerAddress.parse(url, **files)


@asynccontextmanager
async def started(broker: Configured) -> AsyncIterator[Configured]:
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@asynccontextmanager
async def joined(address: BrokerAddress, **options: Any) -> AsyncIterator[MqttConnection]:
    bus = MqttConnection(address, SystemClock(), **options)
    task = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as found:
        yield found


def told(lines: Lines, event: str) -> list[dict[str, Any]]:
    return [dict(line) for line in lines if line["event"] == event]


async def why(broker: Configured, address: BrokerAddress, lines: Lines) -> str:
    """Return why a connection fails, as it is logged; fail if it does not."""
    async with started(broker), joined(address) as bus:
        await until(lambda: told(lines, "bus.lost"))
        assert not bus.connected
    return str(told(lines, "bus.lost")[0]["why"])


async def test_a_message_that_a_broker_ends_the_connection_at_is_put_aside_and_others_pass(
    tmp_path: Path, lines: Lines
) -> None:
    broker = Configured(tmp_path, "max_packet_size 2000")
    async with started(broker), joined(broker.address()) as bus:
        heard: list[str] = []
        bus.subscribe("out/#", lambda topic, _body, _retained: heard.append(topic))
        await until(lambda: bus.connected)
        bus.publish("out/large", {"text": "x" * 3000}, retain=True)
        for number in range(5):
            bus.publish(f"out/{number}", {"n": number})
        await until(lambda: told(lines, "bus.message_refused"))
        await until(lambda: {f"out/{n}" for n in range(5)} <= set(heard))
    (line,) = told(lines, "bus.message_refused")
    assert (line["topic"], line["bytes"] > 3000) == ("out/large", True)
    assert "the broker's limit of a packet" in line["remedy"]


async def test_a_broker_that_grants_less_is_served_with_less_and_said_once(
    tmp_path: Path, lines: Lines
) -> None:
    broker = Configured(tmp_path, "max_qos 0")
    async with started(broker), joined(broker.address()) as bus:
        heard: list[bytes] = []
        bus.subscribe("in/one", lambda _topic, body, _retained: heard.append(body))
        bus.subscribe("in/two", lambda _topic, _body, _retained: None)
        await until(lambda: bus.connected)
        bus.publish("in/one", {"n": 1})
        await until(lambda: heard)
        await bus.flush()
    assert len(told(lines, "bus.qos_lowered")) == 1
    assert not told(lines, "bus.lost")


async def test_plain_mqtt_on_a_port_with_tls_is_said_as_such(tmp_path: Path, lines: Lines) -> None:
    broker = Configured(tmp_path, tls=True)
    plain = BrokerAddress.parse(f"mqtt://127.0.0.1:{broker.port}")
    said = await why(broker, plain, lines)
    assert said == f"the broker speaks TLS on port {broker.port}; write mqtts://"


async def test_tls_on_a_port_with_plain_mqtt_is_said_as_such(tmp_path: Path, lines: Lines) -> None:
    broker = Configured(tmp_path)
    secure = BrokerAddress.parse(f"mqtts://127.0.0.1:{broker.port}")
    said = await why(broker, secure, lines)
    assert said == f"the broker speaks no TLS on port {broker.port}; write mqtt://"


def client_certificate(folder: Path, passphrase: bytes = b"") -> tuple[Path, Path]:
    """Make a CA for clients, and a certificate and a key of one; return the latter two."""
    ca_key, ca = _certificate("CA of clients", None, None)
    key, certificate = _certificate("bot", ca_key, ca)
    cert_file, key_file = folder / "bot.crt", folder / "bot.key"
    (folder / "clients.crt").write_bytes(ca.public_bytes(PEM))
    cert_file.write_bytes(certificate.public_bytes(PEM))
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        locked = serialization.BestAvailableEncryption(passphrase)
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(PEM, form, locked))
    return cert_file, key_file


def asking_for_certificates(folder: Path) -> Configured:
    broker = Configured(folder, "require_certificate true", tls=True)
    both = (folder / "ca.crt").read_bytes() + (folder / "clients.crt").read_bytes()
    (folder / "ca.crt").write_bytes(both)
    return broker


async def test_a_broker_that_asks_for_a_certificate_gets_it(tmp_path: Path) -> None:
    cert_file, key_file = client_certificate(tmp_path)
    async with started(asking_for_certificates(tmp_path)) as broker:
        trusted = tmp_path / "ca.crt"
        address = broker.address(ca_file=trusted, cert_file=cert_file, key_file=key_file)
        async with joined(address) as bus:
            await until(lambda: bus.connected)


async def test_a_broker_that_misses_a_certificate_is_told_by_the_keys_to_set(
    tmp_path: Path, lines: Lines
) -> None:
    client_certificate(tmp_path)
    broker = asking_for_certificates(tmp_path)
    said = await why(broker, broker.address(ca_file=tmp_path / "ca.crt"), lines)
    assert said == "it wants a certificate of this client: mqtt.cert_file and mqtt.key_file"


def refused(text: str, **files: Path) -> None:
    with pytest.raises(ConfigError, match=text) as told_of:
        MqttConnection(BrokerAddress.parse("mqtts://127.0.0.1", **files), SystemClock())
    assert "\n" not in str(told_of.value)


def test_a_certificate_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    cert_file, key_file = client_certificate(tmp_path, b"secret")
    refused("is encrypted: write it without", cert_file=cert_file, key_file=key_file)
    (tmp_path / "other").mkdir()
    _, other_key = client_certificate(tmp_path / "other")
    refused("is not that of the key", cert_file=cert_file, key_file=other_key)
    key_file.write_text("nonsense")
    refused("no certificate or no key in PEM form", cert_file=cert_file, key_file=key_file)
    gone = tmp_path / "gone"
    refused("cannot be read", cert_file=cert_file, key_file=gone)
    refused("mqtt.key_file needs mqtt.cert_file", key_file=key_file)


def test_a_certificate_without_tls_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.cert_file is of no use"):
        BrokerAddress.parse("mqtt://127.0.0.1", cert_file=Path("bot.crt"))


@pytest.mark.parametrize("user", ["team/bot", "a@b", "50%", "what?", "n#1"])
async def test_a_user_with_signs_of_an_address_logs_in_where_they_are_escaped(
    tmp_path: Path, user: str
) -> None:
    passwords = tmp_path / "passwd"
    made = ["mosquitto_passwd", "-c", "-b", str(passwords), user, "secret"]
    subprocess.run(made, check=True, capture_output=True)
    broker = Configured(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    escaped = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in user)
    async with (
        started(broker),
        joined(broker.address(escaped), password="secret") as bus,
    ):
        await until(lambda: bus.connected)


@pytest.mark.parametrize("user", ["team/bot", "what?", "#1"])
def test_a_user_with_bare_signs_of_an_address_is_told_how_to_write_them(user: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.broker .*"):
        BrokerAddress.parse(f"mqtt://{user}@127.0.0.1:1883")


def test_a_path_behind_the_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing may follow the port, and '/mqtt' does"):
        BrokerAddress.parse("mqtt://127.0.0.1:1883/mqtt")


def test_a_bare_colon_in_a_user_is_told_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match="write a : in a user as %3A"):
        BrokerAddress.parse("mqtt://vhost:user@127.0.0.1")
    assert BrokerAddress.parse("mqtt://vhost%3Auser@127.0.0.1").user == "vhost:user"


def test_a_prefix_that_only_a_broker_may_use_is_refused() -> None:
    with pytest.raises(BadInput, match="begins with \\$, as only a broker's own topics do"):
        Topics("$hyperdrift")


@pytest.mark.parametrize(
    "content",
    [
        "p\u00e4ss".encode(),
        "p\u00e4ss\r\n".encode(),
        "\ufeffp\u00e4ss\n".encode(),
        "p\u00e4ss".encode("utf-16"),
        "p\u00e4ss\n".encode("latin-1"),
        b"\n  p\xc3\xa4ss\t\n",
    ],
)
def test_a_password_is_read_however_an_editor_wrote_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    assert read_password(tmp_path / "password") == "p\u00e4ss"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty; write the password there"),
        (b"\xef\xbb\xbf\r\n", "is empty; write the password there"),
        (b"one\ntwo\n", "has 2 lines; write the password alone"),
    ],
)
def test_a_file_without_one_password_is_one_sentence(
    tmp_path: Path, content: bytes, text: str
) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        read_password(tmp_path / "password")


class WithoutWildcards:
    """A broker as RabbitMQ is: retained messages go only to who asked for the very topic.

    It passes the packets of one client on to a real broker, and drops such ones.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._asked: set[str] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await asyncio.gather(self._pass(reader, outer), self._pass(inner, writer))
        outer.close()
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, length = (await reader.readexactly(1))[0], b""
            while not length or length[-1] & 0x80:
                length += await reader.readexactly(1)
            size = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(length))
            body = await reader.readexactly(size)
            if head == 0x82:  # SUBSCRIBE: a packet id, then a filter
                self._asked.add(body[4 : 4 + int.from_bytes(body[2:4], "big")].decode())
            if head & 0xF1 == 0x31:  # PUBLISH, retained
                topic = body[2 : 2 + int.from_bytes(body[:2], "big")].decode()
                if topic not in self._asked:
                    continue
            writer.write(bytes([head]) + length + body)
            await writer.drain()


async def test_status_is_whole_on_a_broker_without_retained_messages_for_wildcards(
    tmp_path: Path,
) -> None:
    broker = Configured(tmp_path)
    async with started(broker), joined(broker.address(), encode=encode) as daemon:
        online = {"state": "online", "version": "1", "slots": [str(SLOT)], "since_ms": 1}
        daemon.publish(TOPICS.status, online, retain=True)
        daemon.publish(TOPICS.state(SLOT), {"phase": "serving"}, retain=True)
        await until(lambda: daemon.connected)
        await daemon.flush()
        async with WithoutWildcards(broker.port) as rabbit:
            address = BrokerAddress.parse(f"mqtt://127.0.0.1:{rabbit.port}")
            async with remote_client.connected(address, SystemClock()) as bus:
                found = await remote_client.status(bus, TOPICS, SystemClock())
    assert json.loads(json.dumps(found))["slots"] == {"BTC-5m": {"phase": "serving"}}


async def test_what_is_no_topic_neither_ends_the_connection_nor_is_sent() -> None:
    topics = (b"\xff", b"a/#", b"\xed\xa0\x80", b"news")
    hello, granted = b"\x20\2\0\0", b"\x90\3\0\1\0"

    async def faulty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.read(1000)
            writer.write(hello)
            await reader.read(1000)
            messages = [len(t).to_bytes(2, "big") + t for t in topics]
            writer.write(granted + b"".join(bytes((0x30, len(m))) + m for m in messages))
            while await reader.read(1000):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    heard: list[str] = []
    gone = asyncio.Event()
    server = await asyncio.start_server(faulty, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = MqttConnection(BrokerAddress.parse(f"mqtt://127.0.0.1:{port}"), SystemClock())
    bus.subscribe("#", lambda topic, _payload, _retained: heard.append(topic))
    with capture_logs() as logs:
        task = asyncio.create_task(bus.run())
        await until(lambda: heard == ["news"])
        for wrong in ("x" * 65_536, "a/+", "a/#", "\0", "", "\ud800"):
            bus.publish(wrong, {})
            assert not bus.queue.events
        assert bus.connected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gone.wait()
    server.close()
    assert [e["event"] for e in logs].count("bus.bad_topic") == 1
    assert "bus.lost" not in [e["event"] for e in logs]


def test_a_prefix_that_cannot_be_shown_or_is_endless_is_refused() -> None:
    for prefix in ("a\x1bb", "a\0", "x" * 70_000):
        with pytest.raises(BadInput, match=r"that can be shown, e\.g\. hyperdrift"):
            Topics(prefix)

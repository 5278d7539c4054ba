import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiomqtt
import pytest

from daemon.mqtt.broker.access import Access
from daemon.mqtt.broker.limits import BrokerLimits, RefusalTally
from daemon.mqtt.broker.server import BrokerServer

USERS = {"daemon": "d", "bot": "b", "operator": "o"}


class Running:
    """A broker in this process, and what it told."""

    def __init__(self, limits: BrokerLimits, *, anonymous: bool) -> None:
        self.told: list[tuple[str, str]] = []
        tally = RefusalTally(
            lambda kind, about, _count: self.told.append((kind, about)), lambda: 0.0
        )
        access = Access(USERS, "hyperdrift", anonymous=anonymous)
        self.server = BrokerServer(access, limits, tally)
        self.port = 0

    def client(self, user: str = "daemon", **options: Any) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            username=user,
            password=USERS[user],
            **options,
        )


@contextlib.asynccontextmanager
async def broker(
    limits: BrokerLimits | None = None, *, anonymous: bool = False
) -> AsyncIterator[Running]:
    made = Running(limits or BrokerLimits(), anonymous=anonymous)
    listening = await asyncio.start_server(made.server.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


def cut(client: aiomqtt.Client) -> None:
    """End a connection without a word."""
    connection = client._client.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_RDWR)


async def heard(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(60):
        return await anext(aiter(client.messages))


async def connect(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", running.port, limit=1 << 20)


def hello(user: str, *, level: int = 4, keepalive_s: int = 0) -> bytes:
    """Return a CONNECT, for what no library does."""
    texts = (b"x", user.encode(), USERS[user].encode())
    head = b"\0\4MQTT" + bytes((level, 0xC2)) + keepalive_s.to_bytes(2, "big")
    body = head + b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    return bytes((0x10, len(body))) + body


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_of_each_quality_arrives_once(qos: int) -> None:
    async with broker() as running, running.client() as one, running.client("operator") as other:
        await other.subscribe("hyperdrift/#", qos=2)
        await one.publish("hyperdrift/BTC-5m/event", b"x", qos=qos)
        await one.publish("hyperdrift/end", b"y", qos=1)
        found = [await heard(other), await heard(other)]
        assert {(str(m.topic), m.payload, m.retain) for m in found} == {
            ("hyperdrift/BTC-5m/event", b"x", False),
            ("hyperdrift/end", b"y", False),
        }


async def test_what_was_missed_comes_when_a_kept_session_returns() -> None:
    async with broker() as running, running.client() as one:
        kept: dict[str, Any] = {"identifier": "same", "clean_session": False}
        async with running.client("bot", **kept) as bot:
            await bot.subscribe("hyperdrift/+/model", qos=1)
        for i in range(3):
            await one.publish("hyperdrift/BTC-5m/model", str(i), qos=1)
        async with running.client("bot", **kept) as bot:
            assert [(await heard(bot)).payload for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_client_that_dies_leaves_its_will_and_one_that_says_goodbye_does_not() -> None:
    async with broker() as running, running.client() as one:
        await one.subscribe("hyperdrift/+/bot/#", qos=1)
        for i, goodbye in enumerate((True, False)):
            will = aiomqtt.Will(f"hyperdrift/BTC-5m/bot/{i}", b"gone", qos=1)
            async with running.client("bot", will=will) as bot:
                if not goodbye:
                    cut(bot)
        assert str((await heard(one)).topic) == "hyperdrift/BTC-5m/bot/1"


async def test_one_user_cannot_take_over_the_connection_of_another() -> None:
    async with broker() as running, running.client(identifier="same") as daemon:
        await daemon.subscribe("hyperdrift/+/trade", qos=1)
        async with running.client("bot", identifier="same") as bot:
            await bot.publish("hyperdrift/BTC-5m/trade", b"1", qos=1)
        assert (await heard(daemon)).payload == b"1"


@pytest.mark.parametrize(
    ("user", "password"), [(None, None), ("bot", ""), ("bot", "o"), ("nobody", "b"), ("", "")]
)
async def test_who_has_no_right_password_is_refused_and_told_once(
    user: str | None, password: str | None
) -> None:
    async with broker() as running:
        for _ in range(3):
            with pytest.raises(aiomqtt.MqttError, match=r"135|[Nn]ot authorized"):
                async with aiomqtt.Client(
                    "127.0.0.1", running.port, username=user, password=password
                ):
                    pass
        assert running.told == [("login", user or "")]


async def test_half_open_connections_are_bounded_and_keep_nobody_out() -> None:
    async with broker(replace(BrokerLimits(), waiting=5)) as running:
        idle = [await connect(running) for _ in range(20)]
        async with running.client() as one, running.client("operator") as other:
            await other.subscribe("#", qos=1)
            await one.publish("hyperdrift/status", b"on", qos=1)
            assert (await heard(other)).payload == b"on"
        for reader, _ in idle[:15]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert running.told == [("flood", "")]
        for _, writer in idle:
            writer.close()


async def test_who_says_nothing_or_nonsense_is_cut_off() -> None:
    async with broker(replace(BrokerLimits(), login_s=0.05)) as running:
        for said in (b"", b"\x10", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 99, b"\x30\x02\x00\x00"):
            reader, writer = await connect(running)
            writer.write(said)
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()


async def test_a_client_of_another_version_is_told_so() -> None:
    async with broker() as running:
        reader, writer = await connect(running)
        writer.write(hello("bot", level=5))
        assert await reader.read() == b"\x20\x02\x00\x01"
        writer.close()


async def test_no_more_clients_than_the_limit_log_in() -> None:
    async with broker(replace(BrokerLimits(), connections=1)) as running, running.client():
        with pytest.raises(aiomqtt.MqttError):
            async with running.client():
                pass
        assert running.told == [("full", "daemon")]


async def test_what_bots_retain_is_bounded_and_takes_nothing_from_the_daemon() -> None:
    few = replace(BrokerLimits(), retained=(3, 5), retained_bytes=(5000, 100_000))
    async with broker(few) as running, running.client("bot") as bot, running.client() as daemon:
        for i in range(9):
            topic = f"hyperdrift/BTC-5m/bot/{i}"
            await bot.publish(topic, b"x" * (9000 if i == 0 else 10), qos=1, retain=True)
        await daemon.publish("hyperdrift/status", b"y" * 50_000, qos=1, retain=True)
        await bot.publish("hyperdrift/BTC-5m/bot/1", b"", qos=1, retain=True)  # forgets it
        async with running.client("operator") as other:
            await other.subscribe("#", qos=1)
            found = [await heard(other) for _ in range(3)]
        names = sorted(str(m.topic).rpartition("/")[2] for m in found)
        assert (names, {m.retain for m in found}) == (["2", "3", "status"], {True})
        assert running.told == [("retained", "bot")]


async def test_a_reader_that_does_not_read_costs_its_own_messages_only() -> None:
    async with broker(replace(BrokerLimits(), queued_bytes=200_000)) as running:
        slow_reader, slow = await connect(running)
        slow.write(hello("daemon"))
        slow.write(bytes.fromhex("8206000100012301"))
        slow_reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with running.client() as one, running.client("operator") as other:
            await other.subscribe("hyperdrift/end", qos=1)
            for _ in range(300):
                await one.publish("hyperdrift/status", b"x" * 100_000, qos=1)
            await one.publish("hyperdrift/end", b"y", qos=1)
            assert (await heard(other)).payload == b"y"
        assert running.told == [("queue", "daemon")]
        slow.transport.abort()


async def test_where_anybody_may_log_in_everybody_may_do_everything() -> None:
    async with broker(anonymous=True) as running:
        options: dict[str, Any] = {"hostname": "127.0.0.1", "port": running.port}
        async with aiomqtt.Client(**options) as one, aiomqtt.Client(**options) as other:
            await other.subscribe("#", qos=1)
            await one.publish("hyperdrift/BTC-5m/model", b"1", qos=1)
            assert (await heard(other)).payload == b"1"
        assert running.told == []


async def test_a_client_that_falls_silent_is_cut_off_after_its_keepalive() -> None:
    async with broker() as running:
        reader, writer = await connect(running)
        writer.write(hello("bot", keepalive_s=1))
        async with asyncio.timeout(60):
            assert await reader.read() == b"\x20\x02\x00\x00"
        writer.close()


def test_the_clock_of_the_tally_lets_a_kind_be_told_again_after_an_hour() -> None:
    told: list[int] = []
    now = [0.0]
    tally = RefusalTally(lambda _kind, _about, count: told.append(count), lambda: now[0])
    for _ in range(5):
        tally.add("login")
    now[0] = 3600.0
    tally.add("login")
    assert told == [1, 5]


WRONG_TOPICS = (
    b"",
    b"hyperdrift/#/bot/x",
    b"hyperdrift/+/bot/x",
    b"hyperdrift/\0",
    b"\xff",
    b"/" * 300,
)


def text_of(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def packet(first: int, body: bytes) -> bytes:
    """Return a packet of up to 2 MiB, for what no library sends."""
    length = len(body)
    digits = bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))
    return bytes((first,)) + digits + body


@pytest.mark.parametrize("topic", WRONG_TOPICS)
@pytest.mark.parametrize("as_will", [False, True])
async def test_a_topic_that_is_none_ends_its_sender_and_reaches_nobody(
    topic: bytes, as_will: bool
) -> None:
    async with broker(anonymous=True) as running, running.client() as one:
        await one.subscribe("#", qos=1)
        reader, writer = await connect(running)
        will = text_of(topic) + text_of(b"dead") if as_will else b""
        flags = 0x26 if as_will else 0x02
        writer.write(packet(0x10, b"\0\4MQTT\4" + bytes((flags,)) + b"\0\0" + text_of(b"x") + will))
        if not as_will:
            writer.write(packet(0x31, text_of(topic) + b"dead"))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await one.publish("hyperdrift/end", b"alive", qos=1)
        assert (await heard(one)).payload == b"alive"
        assert running.told == []


async def test_a_topic_of_the_greatest_length_arrives_and_a_subscription_is_answered_once() -> None:
    longest = "hyperdrift/BTC-5m/bot/" + "\x1b" * (65_535 - 22)
    async with broker() as running, running.client() as one, running.client("bot") as bot:
        await one.subscribe("hyperdrift/+/bot/+", qos=1)
        await bot.publish(longest, b"x", qos=1, retain=True)
        assert str((await heard(one)).topic) == longest
        reader, writer = await connect(running)
        writer.write(hello("daemon"))
        writer.write(packet(0x82, b"\0\1" + (text_of(b"hyperdrift/+/bot/+") + b"\1") * 5000))
        writer.write(packet(0x82, b"\0\2" + text_of(b"+/" * 300 + b"+") + b"\1"))
        writer.write(bytes((0xC0, 0)))
        said = await asyncio.wait_for(reader.readuntil(bytes((0xD0, 0))), 60)
        assert said.count(b"\0\2\x80") == 1  # a filter of too many levels is refused
        await one.publish("hyperdrift/BTC-5m/bot/y", b"y", qos=1)
        said += await asyncio.wait_for(reader.readuntil(b"bot/y"), 60)
        assert said.count(longest.encode()) == 1
        writer.close()


async def test_the_daemon_may_have_more_filters_than_a_bot() -> None:
    async with broker(BrokerLimits(subscriptions=(2, 5))) as made:
        for user, most in (("bot", 2), ("daemon", 5)):
            async with made.client(user) as one:
                topics = [(f"hyperdrift/S{k}-5m/model", 1) for k in range(6)]
                granted = await one.subscribe(topics)
                assert [code != 128 for code in granted].count(True) == most

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.mqtt.broker import packets
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MAX_PAYLOAD, MqttConnection, Will
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.send_queue import LONGEST
from tests.captured import capture_logs
from tests.daemon.brokers import Embedded, Mosquitto, until

Broker = Mosquitto | Embedded


def make(url: str, **options) -> MqttConnection:
    return MqttConnection(BrokerAddress.parse(url), SystemClock(), **options)


@contextlib.asynccontextmanager
async def running(*buses: MqttConnection) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(bus.run()) for bus in buses]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


class Inbox:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, bool]] = []

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        self.got.append((topic, payload, retained))

    def bodies(self) -> list[bytes]:
        return [body for _, body, _ in self.got]


async def test_a_message_reaches_a_subscriber_with_topic_payload_and_retain_flag(
    broker: Broker,
) -> None:
    one, two, inbox, late = make(broker.url), make(broker.url), Inbox(), Inbox()
    two.subscribe("t/+/now", inbox)
    async with running(one, two):
        await asyncio.gather(one.wait_connected(), two.wait_connected())
        one.publish("t/a/now", {"n": 1})
        one.publish("t/kept", BotPresence(online=True, bot_id="b"), retain=True)
        await until(lambda: inbox.got)
        await one.flush()
        two.subscribe("t/kept", late)  # while connected
        await until(lambda: late.got)
    assert inbox.got == [("t/a/now", b'{"n":1}', False)]
    assert late.got[0][2] is True


async def test_who_hears_a_retained_message_is_connected_already(broker: Broker) -> None:
    one, two, inbox = make(broker.url), make(broker.url), Inbox()
    connected: list[bool] = []

    def hear(topic: str, payload: bytes, retained: bool) -> None:
        connected.append(two.connected)
        inbox(topic, payload, retained)

    two.subscribe("t/kept", hear)
    for n in range(50):  # the broker answers these after it has sent the message
        two.subscribe(f"t/other/{n}", inbox)
    async with running(one):
        one.publish("t/kept", BotPresence(online=True, bot_id="b"), retain=True)
        await one.flush()
        async with running(two):
            await until(lambda: inbox.got)
    assert (len(inbox.got), connected) == (1, [True])


async def test_messages_published_before_the_broker_is_up_arrive_in_order(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    one, inbox = make(broker.url), Inbox()
    for n in range(50):
        one.publish("t/n", {"n": n})
    async with running(one):
        await asyncio.sleep(0.3)
        assert not one.connected
        await broker.start()
        two = make(broker.url)
        two.subscribe("t/n", inbox)
        async with running(two):
            await two.wait_connected()
            await one.wait_connected()
            one.publish("t/n", {"n": 50})
            await until(lambda: inbox.got and inbox.bodies()[-1] == b'{"n":50}')
    got = inbox.bodies()
    assert got == [b'{"n":%d}' % n for n in range(51)][-len(got) :]
    await broker.stop()


async def test_after_a_broker_restart_retained_topics_are_there_again_and_subscriptions_work(
    broker: Broker,
) -> None:
    one, inbox = make(broker.url), Inbox()
    one.subscribe("t/in", inbox)
    async with running(one):
        one.publish("t/state", {"v": "old"}, retain=True)
        one.publish("t/state", {"v": "new"}, retain=True)
        await one.wait_connected()
        await one.flush()
        with capture_logs() as logs:
            await broker.stop()
            await until(lambda: not one.connected)
            one.publish("t/other", {"v": 1}, retain=True)
            await asyncio.sleep(0.5)  # several tries
            await broker.start()
            await one.wait_connected()
        two, state, other = make(broker.url), Inbox(), Inbox()
        two.subscribe("t/state", state)
        two.subscribe("t/other", other)
        async with running(two):
            await until(lambda: state.got and other.got)
            two.publish("t/in", {"hello": 1})
            await until(lambda: inbox.got)
    assert state.got[0][1] == b'{"v":"new"}'
    assert [entry["event"] for entry in logs if entry["event"].startswith("bus.")] == [
        "bus.lost",  # once, however many tries
        "bus.connected",
    ]


async def test_a_full_outbox_drops_the_oldest_events_and_keeps_what_is_retained(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    one, inbox, kept = make(broker.url), Inbox(), Inbox()
    one.publish("t/kept", {"v": 1}, retain=True)
    with capture_logs() as logs:
        for n in range(LONGEST + 200):
            one.publish("t/n", {"n": n})
    assert [entry["event"] for entry in logs] == ["bus.outbox_full"]
    await broker.start()
    two = make(broker.url)
    two.subscribe("t/n", inbox)
    two.subscribe("t/kept", kept)
    async with running(two):
        await two.wait_connected()
        async with running(one):
            await until(lambda: len(inbox.got) == LONGEST)
    assert inbox.bodies() == [b'{"n":%d}' % n for n in range(200, LONGEST + 200)]
    assert kept.bodies() == [b'{"v":1}']
    await broker.stop()


async def test_a_chatty_topic_pushes_out_its_own_messages_and_no_others(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    one, rare, many = make(broker.url), Inbox(), Inbox()
    one.publish("t/reply", {"first": 1})
    for n in range(2 * LONGEST):
        one.publish("t/prediction", {"n": n})
    await broker.start()
    two = make(broker.url)
    two.subscribe("t/reply", rare)
    two.subscribe("t/prediction", many)
    async with running(two):
        await two.wait_connected()
        async with running(one):
            await until(lambda: many.got and many.bodies()[-1] == b'{"n":%d}' % (2 * LONGEST - 1))
    assert rare.bodies() == [b'{"first":1}']
    assert len(many.got) == LONGEST - 1
    await broker.stop()


async def test_a_handler_that_fails_is_logged_once_and_stops_nothing(broker: Broker) -> None:
    one, two, inbox = make(broker.url), make(broker.url), Inbox()

    def broken(topic: str, payload: bytes, retained: bool) -> None:
        raise RuntimeError("no")

    two.subscribe("t/a", broken)
    two.subscribe("t/a", inbox)
    with capture_logs() as logs:
        async with running(one, two):
            await two.wait_connected()
            for n in range(3):
                one.publish("t/a", {"n": n})
            await until(lambda: len(inbox.got) == 3)
    assert [entry["event"] for entry in logs].count("bus.handler_failed") == 1


async def test_the_will_is_published_when_the_process_dies_and_when_it_says_goodbye(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    watcher, inbox = make(broker.url), Inbox()
    watcher.subscribe("t/bot", inbox)
    here, gone = BotPresence(online=True, bot_id="b"), BotPresence(online=False, bot_id="b")
    async with running(watcher):
        await watcher.wait_connected()
        bot = make(broker.url, will=Will("t/bot", gone))
        bot.publish("t/bot", here, retain=True)
        async with running(bot):
            await until(lambda: inbox.got)
        await until(lambda: len(inbox.got) == 2)
    assert [b'"online":true' in body for body in inbox.bodies()] == [True, False]
    await broker.stop()


async def test_a_socket_that_closes_before_anything_was_written_to_it_is_no_uproar() -> None:
    uproar: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: uproar.append(context))
    bus = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:9"), SystemClock(), name="test")
    client = bus._make_client()
    ours, theirs = socket.socketpair()
    with theirs:
        client._on_socket_register_write(client._client, None, ours)
        ours.close()
        await asyncio.sleep(0.01)
    assert uproar == []


async def test_a_broker_that_never_answers_leaves_no_socket_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hyperdrift.mqtt.connection.FIRST_ANSWER_S", 600.0)  # nor is it waited for
    opened, closed = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        closed.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = make(f"mqtt://127.0.0.1:{port}")
    async with asyncio.timeout(60):
        async with running(bus):
            await opened.wait()
            bus.publish("t/a", {})
            assert not bus.connected
        await closed.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_broker_that_dies_while_it_is_subscribed_to_is_no_refusal_and_noticed_at_once(
    answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hyperdrift.mqtt.connection.ANSWER_S", 600.0)
    tries: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind, _, _ = await packets.read(reader, 1000)
        if kind == packets.CONNECT:  # else it is asked whether it speaks TLS
            tries.append(1)
            writer.write(packets.connack(packets.ACCEPTED))
            _, _, body = await packets.read(reader, 1000)
            if answers:
                writer.write(packets.suback(int.from_bytes(body[:2], "big"), [1]))
            writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    bus = make(f"mqtt://bot@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    for number in range(2):
        bus.subscribe(f"in/{number}", Inbox())
    async with running(bus):
        await until(lambda: len(tries) >= 3)
        assert "refuses" not in bus.trouble
        assert not bus.refused
    server.close()


async def test_an_oversized_payload_is_refused_with_a_log_line_and_does_not_break_the_connection(
    broker: Broker,
) -> None:
    one, inbox = make(broker.url), Inbox()
    one.subscribe("t/+", inbox)
    with capture_logs() as logs:
        async with running(one):
            await one.wait_connected()
            one.publish("t/a", {"text": "x" * MAX_PAYLOAD}, retain=True)
            one.publish("t/b", {"text": "x" * (MAX_PAYLOAD - 100)})
            await until(lambda: inbox.got)
    assert inbox.got[0][0] == "t/b"
    assert [e["event"] for e in logs].count("bus.payload_too_large") == 1


async def test_a_request_and_its_answer_take_milliseconds_because_nagle_is_off(
    broker: Broker,
) -> None:
    asker, answerer = make(broker.url), make(broker.url)
    answer = asyncio.Event()
    answerer.subscribe("t/ask", lambda *_: answerer.publish("t/answer", {}))
    asker.subscribe("t/answer", lambda *_: answer.set())
    took = []
    async with running(asker, answerer):
        await asyncio.gather(asker.wait_connected(), answerer.wait_connected())
        for _ in range(30):
            began = time.perf_counter()
            answer.clear()
            asker.publish("t/ask", {})
            await answer.wait()
            took.append((time.perf_counter() - began) * 1000)
    # A late acknowledgement costs each of them 40 ms but the first few; a busy host, some of them.
    assert min(took[10:]) < 40, took


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://h", BrokerAddress("h", 1883)),
        ("mqtt://me@h:1999", BrokerAddress("h", 1999, "me")),
        ("mqtts://h", BrokerAddress("h", 8883, None, tls=True)),
    ],
)
def test_a_broker_address_is_read(url: str, expected: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == expected


@pytest.mark.parametrize("url", ["h:1883", "http://h", "mqtt://", "mqtt://h:x", "mqtt://h:99999"])
def test_a_broker_address_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match="mqtt://user@host:1883"):
        BrokerAddress.parse(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="password in a file") as caught:
        BrokerAddress.parse("mqtt://me:secret@h")
    assert "secret" not in str(caught.value)

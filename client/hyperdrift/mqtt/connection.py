"""One MQTT connection for the process, which reconnects for ever and never blocks a caller.

Callers publish into a bounded outbox and go on, also while the broker is slow or absent.
A broker may lose retained messages when it restarts. So after each connect the retained
topics of the process are published again, here, for all callers.
"""

import asyncio
import contextlib
import logging
import math
import random
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
from paho.mqtt.matcher import MQTTMatcher

from hyperdrift.clock import Clock
from hyperdrift.logs import EventLogger
from hyperdrift.mqtt import messages
from hyperdrift.mqtt.broker_address import BrokerAddress, is_refusal
from hyperdrift.mqtt.login import FixedLogin, Login
from hyperdrift.mqtt.protocol_hint import protocol_hint
from hyperdrift.mqtt.send_queue import SendQueue
from hyperdrift.mqtt.topics import is_topic
from hyperdrift.tasks import run_together, within

Handler = Callable[[str, bytes, bool], None]
Encode = Callable[[Any], bytes]

# Publishes in flight at once: enough for a broker that is 50 ms away, few enough to resend.
WINDOW = 8
# A broker closes the connection on a larger payload, which would then be resent for ever.
MAX_PAYLOAD = 900_000
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 15.0
# After a connection that lasted this long, the delays begin again at the first one.
GOOD_SESSION_S = 10.0
# How long a broker may take to answer, and how long a disconnect may take.
ANSWER_S, GOODBYE_S = 10.0, 1.0
# The first answer is waited for less long: a port that speaks TLS waits for more.
FIRST_ANSWER_S: Final = 3.0
# From this code on, a broker has refused a subscription.
_FAILURE: Final = 0x80
_SILENT: Final = f"no answer within {ANSWER_S:g} s"
# Handlers return at once, so few messages wait; if more than this wait, the newest are dropped.
INBOX = 10_000

log = EventLogger("hyperdrift.mqtt")
# The library's log lines only repeat ours, with less detail.
_LIBRARY: Final = logging.getLogger("hyperdrift.mqtt.library")
_LIBRARY.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Will:
    """The last will: the broker publishes it, retained, when this process is gone."""

    topic: str
    payload: Any


class MqttConnection:
    """An MQTT 3.1.1 client that reconnects for ever; everything is sent with QoS 1.

    `publish` and `subscribe` may be called at any time, from the event loop's thread. Each
    message is delivered at least once: if a connection breaks before the broker acknowledges
    a message, the message is sent again on the next connection.
    """

    def __init__(
        self,
        address: BrokerAddress,
        clock: Clock,
        *,
        name: str = "hyperdrift",
        password: str | None = None,
        login: Login | None = None,
        will: Will | None = None,
        encode: Encode = messages.encode,
    ) -> None:
        self._address, self._clock, self._will = address, clock, will
        self._encode, self._login = encode, login or FixedLogin(address.user, password)
        self._tls = address.trust()
        # The process keeps one client id. So a broker drops a half-open older connection at
        # once. Otherwise that connection's last will would overwrite our presence later.
        self._client_id = f"{name}-{secrets.token_hex(4)}"
        # The same lists twice: by filter, and by topic, because a fleet has a thousand filters.
        self._handlers, self._handlers_of = dict[str, list[Handler]](), MQTTMatcher()
        self._faulty: set[Handler] = set()
        self._unsubscribed: dict[str, None] = {}
        self.queue, self._up = SendQueue(), asyncio.Event()
        self._qos, self._lost_logged, self._hint = 1, False, ""
        self.refused, self.trouble = False, ""  # if the login failed; why there is no connection

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this connection and all subscriptions were sent."""
        return self._up.is_set()

    async def wait_connected(self) -> None:
        """Wait until `connected`."""
        await self._up.wait()

    async def flush(self) -> None:
        """Wait until the broker has acknowledged everything that was published so far."""
        await self.queue.idle.wait()

    def publish(self, topic: str, payload: Any, *, retain: bool = False) -> None:
        """Put a message into the outbox; it is sent as soon as the broker is connected.

        Of a retained topic the newest value is always kept, and no older one. If too many other
        messages wait, the topic with most of them loses its oldest. So many predictions cannot
        push out the only reply or trade.

        None as a retained payload makes the broker forget the topic.
        """
        body = b"" if payload is None else self._encode(payload)
        if len(body) > MAX_PAYLOAD:
            log.error("bus.payload_too_large", topic=topic, bytes=len(body), limit=MAX_PAYLOAD)
            return
        if not is_topic(topic):  # made from another's; the library would raise
            log.error("bus.not_a_topic", topic=topic[:100], characters=len(topic))
            return
        self.queue.put(topic, body, retain=retain)

    def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Call `handler(topic, payload, retained)` for every message that matches, for ever.

        Handlers run on the event loop and must return at once. Filters of one connection must
        not overlap: brokers differ in how often they then deliver a message.
        """
        if topic_filter not in self._handlers:
            self._unsubscribed[topic_filter] = None
            self._handlers_of[topic_filter] = self._handlers[topic_filter] = []
        self._handlers[topic_filter].append(handler)
        self.queue.wake()

    async def run(self) -> None:
        """Keep the connection until cancelled; then publish the last will and disconnect."""
        delay = FIRST_DELAY_S
        while True:
            began = self._clock.monotonic()
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError) as e:
                await self._note_loss(e)
            finally:
                self._up.clear()
            if self._clock.monotonic() - began > GOOD_SESSION_S:
                delay = FIRST_DELAY_S
            # Jitter: a hundred bots must not reconnect to a restarted broker at once.
            await self._clock.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - no secret
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _session(self) -> None:
        """Connect and serve until the connection breaks; requeue what was not acknowledged."""
        client = self._make_client()
        try:
            await within(ANSWER_S if self._lost_logged else FIRST_ANSWER_S, client.__aenter__())
        except BaseException:
            _abandon(client)
            raise
        began = self._clock.monotonic()
        try:
            await self._serve(client)
        finally:
            self.queue.lost(self._clock.monotonic() - began)
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                await within(GOODBYE_S, self._say_goodbye(client))

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        try:
            if self._will is not None:  # after a clean disconnect the broker does not send it
                body = self._encode(self._will.payload)
                await client.publish(self._will.topic, body, qos=1, retain=True)
        finally:
            await client.__aexit__(None, None, None)

    def _make_client(self) -> aiomqtt.Client:
        will = None
        if self._will is not None:
            body = self._encode(self._will.payload)
            will = aiomqtt.Will(self._will.topic, body, qos=1, retain=True)
        user, password = self._login.pair()
        return _Client(
            self._address.host,
            self._address.port,
            username=user,
            password=password,
            identifier=self._client_id,
            will=will,
            clean_session=True,
            keepalive=30,
            tls_context=self._tls,
            max_queued_incoming_messages=INBOX,
            # We time calls by `within`: on Python 3.11 the library's timeout may lose a
            # cancellation.
            timeout=math.inf,
            logger=_LIBRARY,
            # Otherwise a small packet waits until the packet before it is acknowledged.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        # The library waits on for an answer to a subscription when the connection has ended; who
        # receives is told at once.
        early: list[aiomqtt.Message] = []
        await run_together(self._receive(client, early), self._say(client, early))

    async def _say(self, client: aiomqtt.Client, early: Sequence[aiomqtt.Message]) -> None:
        self._unsubscribed.clear()
        for topic_filter in list(self._handlers):
            await self._subscribe(client, topic_filter)
        self._up.set()
        self._lost_logged, self.trouble, self._hint = False, "", ""
        log.info("bus.connected", broker=str(self._address), dropped=self.queue.dropped)
        self.queue.renew()
        for message in early:
            self._handle(message)
        await run_together(*(self._send(client) for _ in range(WINDOW)))

    async def _subscribe(self, client: aiomqtt.Client, topic_filter: str) -> None:
        codes = await within(ANSWER_S, client.subscribe(topic_filter, qos=1))
        for code in codes:
            granted = code if isinstance(code, int) else code.value
            if granted >= _FAILURE:
                log.error("bus.subscription_refused", filter=topic_filter, why=str(code))
            elif granted < self._qos:  # some brokers end the connection of who sends more
                self._qos = granted
                log.warning("bus.qos_lowered", broker=str(self._address), filter=topic_filter)

    async def _send(self, client: aiomqtt.Client) -> None:
        """Send what waits. Several run at once; each takes its message before it awaits."""
        while True:
            await self.queue.work.wait()
            if self._unsubscribed:
                await self._subscribe(client, self._unsubscribed.popitem()[0])
            elif message := self.queue.take():
                key, topic, body = message
                retain = isinstance(key, str)
                await within(ANSWER_S, client.publish(topic, body, qos=self._qos, retain=retain))
                _acknowledge_segments(client)
                self.queue.sent(key)
            else:
                self.queue.work.clear()
                self.queue.settle()

    async def _receive(self, client: aiomqtt.Client, early: list[aiomqtt.Message]) -> None:
        """Hand on what comes; what comes before everything is subscribed to waits in `early`."""
        async for message in client.messages:
            _acknowledge_segments(client)
            if self._up.is_set():
                self._handle(message)
            else:
                early.append(message)

    def _handle(self, message: aiomqtt.Message) -> None:
        topic, body = message.topic.value, message.payload
        if not isinstance(body, bytes):
            return
        for handlers in list(self._handlers_of.iter_match(topic)):
            for handler in handlers:
                self._call(handler, topic, body, retained=message.retain)

    def _call(self, handler: Handler, topic: str, body: bytes, *, retained: bool) -> None:
        try:
            handler(topic, body, retained)
        except Exception as e:  # noqa: BLE001 - the other handlers go on
            if handler not in self._faulty:
                log.failure("bus.handler_failed", e, topic=topic)
            self._faulty.add(handler)
        else:
            self._faulty.discard(handler)

    async def _note_loss(self, error: BaseException) -> None:
        """Log why the connection is lost: once, and again for each new cause a person can fix."""
        why = self._address.explain(error, *self._login.told())
        explained = bool(why) and why != str(error)
        if not explained:
            if not (self._lost_logged or self._up.is_set()):
                self._hint = await protocol_hint(self._address, self._tls)
            why, explained = self._hint or why or _SILENT, bool(self._hint)
        if not self._lost_logged or (explained and why != self.trouble):
            log.warning("bus.lost", broker=str(self._address), why=why, retrying=True)
        self._lost_logged, self.trouble, self.refused = True, why, is_refusal(error)


class _Client(aiomqtt.Client):
    """The library's client, but it does not wait for a socket that is closed already.

    A message whose topic is none, which only a faulty broker passes on, is left out.
    """

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            super()._on_message(client, userdata, message)
        except ValueError as e:
            if not self._told_topic:
                log.warning("bus.bad_topic", why=str(e)[:200])
            self._told_topic = True

    _told_topic = False

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ARG002
        # The library connects in a thread of its own, so this may run in any thread.
        self._loop.call_soon_threadsafe(self._wait_to_write, client, sock)

    def _wait_to_write(self, client: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock, self._write, client)

    def _write(self, client: Any) -> None:
        try:
            client.loop_write()
        except Exception as e:  # noqa: BLE001 - any error ends the connection
            if not self._disconnected.done():
                self._disconnected.set_exception(e)


def _abandon(client: aiomqtt.Client) -> None:
    """Close the socket of a failed connect: the library does not, and may still be connecting."""
    inner = client._client  # noqa: SLF001 - there is no public way
    inner.on_disconnect = None
    inner.on_socket_register_write = None  # the loop must not wait for a closed socket
    inner.on_socket_open = lambda _client, _data, connection: connection.close()
    inner.disconnect()


def _acknowledge_segments(client: aiomqtt.Client) -> None:
    """Let TCP acknowledge at once what was just read.

    With Nagle's algorithm a broker holds back an answer until its last packet is acknowledged.
    Linux acknowledges 40 ms late. The option does not last, so it is set after each packet.
    Without it and TCP_NODELAY a request and its answer take 88 ms on loopback.
    """
    quick, connection = getattr(socket, "TCP_QUICKACK", None), client._client.socket()  # noqa: SLF001 - no public way
    if quick is not None and isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):  # closed meanwhile
            connection.setsockopt(socket.IPPROTO_TCP, quick, 1)

"""The embedded broker: connections, log-in, routing, retained messages and wills."""

import asyncio
import contextlib
import secrets
from typing import Final

from daemon.mqtt.broker import packets
from daemon.mqtt.broker.access import Access, Rights
from daemon.mqtt.broker.limits import BrokerLimits, RefusalTally
from daemon.mqtt.broker.packets import Connect, MalformedPacket, Publication
from daemon.mqtt.broker.retained import Retained
from daemon.mqtt.broker.session import Session, for_client

# A client may be late by half of its keepalive.
_LATE: Final = 1.5

Key = tuple[str, str]


class BrokerServer:
    """The broker; `serve` takes each connection that is made.

    Args:
        access: The users.
        limits: What clients may take.
        tally: Counts and tells what is refused.
    """

    def __init__(self, access: Access, limits: BrokerLimits, tally: RefusalTally) -> None:
        self._access, self._limits, self._tally = access, limits, tally
        self._retained = Retained(limits)
        self._sessions: dict[Key, Session] = {}
        self._connected: dict[Key, tuple[asyncio.StreamWriter, asyncio.Task[None]]] = {}
        self._waiting: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        self._make_room(writer)
        try:
            found = await self._log_in(reader, writer)
            if found is not None:
                await self._converse(*found, reader, writer)
        except (MalformedPacket, OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self._waiting.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _make_room(self, writer: asyncio.StreamWriter) -> None:
        """Let a connection wait for its log-in; the one that waits longest may have to go."""
        if len(self._waiting) >= self._limits.waiting:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.abort()
            self._tally.add("flood")
        self._waiting[writer] = None

    async def _log_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Connect, Rights] | None:
        """Read the first packet and answer it; None if the client may not log in."""
        async with asyncio.timeout(self._limits.login_s):
            kind, _, body = await packets.read(reader, self._limits.login_bytes)
        if kind != packets.CONNECT:
            return None
        wanted = packets.read_connect(body)
        rights = self._access.login(wanted.user, wanted.password)
        code = packets.ACCEPTED
        if wanted.level != packets.LEVEL:
            code = packets.WRONG_VERSION
        elif rights is None:
            code = packets.REFUSED
            self._tally.add("login", wanted.user or "")
        elif not wanted.client_id and not wanted.clean:
            code = packets.BAD_ID
        elif len(self._connected) >= self._limits.connections:
            code = packets.FULL
            self._tally.add("full", wanted.user or "")
        if code != packets.ACCEPTED or rights is None:
            writer.write(packets.connack(code))
            await writer.drain()
            return None
        self._waiting.pop(writer, None)
        return wanted, rights

    async def _converse(
        self,
        wanted: Connect,
        rights: Rights,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Serve a client that is logged in; publish its will if it goes without a word."""
        # The user belongs to the key: nobody takes over the session of another user.
        key = rights.user, wanted.client_id or secrets.token_hex(8)
        if older := self._connected.pop(key, None):
            older[1].cancel()
            older[0].transport.abort()
            self._sessions[key].lost()
        session = self._open(key, rights, clean=wanted.clean, writer=writer)
        sender = asyncio.create_task(session.send(writer))
        self._connected[key] = writer, sender
        said_goodbye = False
        try:
            limit_s = wanted.keepalive_s * _LATE or None
            said_goodbye = await self._read(session, reader, writer, limit_s)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sender
            if self._connected.get(key) == (writer, sender):
                del self._connected[key]
                self._close(key, session)
            if wanted.will is not None and not said_goodbye:
                self._publish(rights, wanted.will)

    def _open(
        self, key: Key, rights: Rights, *, clean: bool, writer: asyncio.StreamWriter
    ) -> Session:
        """Return the client's session, a new one unless it wants the one that is kept."""
        kept = self._sessions.get(key)
        if clean or kept is None:
            self._sessions[key] = Session(rights, self._limits, clean=clean)
        writer.write(packets.connack(packets.ACCEPTED, present=not clean and kept is not None))
        return self._sessions[key]

    def _close(self, key: Key, session: Session) -> None:
        """Keep a session for the client's return, or forget it."""
        if self._sessions.get(key) is not session:
            return
        del self._sessions[key]
        if session.clean:
            return
        session.lost()
        away = [other for other in self._sessions if other not in self._connected]
        if len(away) >= self._limits.kept_sessions:
            del self._sessions[away[0]]
            self._tally.add("sessions", key[0])
        self._sessions[key] = session  # the newest is last

    async def _read(
        self,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit_s: float | None,
    ) -> bool:
        """Take the client's packets until it ends; return whether it said goodbye."""
        while True:
            async with asyncio.timeout(limit_s):
                kind, flags, body = await packets.read(reader, self._limits.packet_bytes)
            if kind == packets.DISCONNECT:
                return True
            if kind == packets.PUBLISH:
                self._take_publish(session, flags, body, writer)
            elif kind == packets.SUBSCRIBE:
                self._take_subscribe(session, body, writer)
            else:
                _answer(session, kind, body, writer)
            await writer.drain()

    def _take_publish(
        self, session: Session, flags: int, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        message, packet_id = packets.read_publish(flags, body)
        if message.qos == packets.EXACTLY_ONCE:
            if packet_id not in session.received:
                self._publish(session.rights, message)
            if len(session.received) < session.most:
                session.received.add(packet_id)
            writer.write(packets.acknowledgement(packets.PUBREC, packet_id))
            return
        self._publish(session.rights, message)
        if message.qos:
            writer.write(packets.acknowledgement(packets.PUBACK, packet_id))

    def _publish(self, rights: Rights, message: Publication) -> None:
        """Hand a message to all that want it, if its sender may say it."""
        if not rights.may_write(message.topic):
            self._tally.add("denied", f"{rights.user} to {message.topic[:100]}")
            return
        if message.retain and not self._retained.put(message, rights.user):
            self._tally.add("retained", rights.user)
        for session in self._sessions.values():
            qos = session.wants(message.topic)
            if qos is not None and not session.put(for_client(message, qos, retain=False)):
                self._tally.add("queue", session.rights.user)

    def _take_subscribe(self, session: Session, body: bytes, writer: asyncio.StreamWriter) -> None:
        packet_id, filters = packets.read_subscribe(body)
        codes = [session.subscribe(topic_filter, qos) for topic_filter, qos in filters]
        writer.write(packets.suback(packet_id, codes))
        granted = {f for (f, _), code in zip(filters, codes, strict=True) if code <= 1}
        for message in self._retained:
            found = [session.wants(message.topic, topic_filter) for topic_filter in granted]
            for qos in {qos for qos in found if qos is not None}:
                session.put(for_client(message, qos, retain=True), always=True)


def _answer(session: Session, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
    """Take a packet that needs no other client.

    Raises:
        MalformedPacket: If a client does not send such packets.
    """
    if kind == packets.PUBACK:
        session.acknowledged(packets.read_id(body))
    elif kind == packets.PINGREQ:
        writer.write(packets.PONG)
    elif kind == packets.PUBREL:
        packet_id = packets.read_id(body)
        session.received.discard(packet_id)
        writer.write(packets.acknowledgement(packets.PUBCOMP, packet_id))
    elif kind == packets.UNSUBSCRIBE:
        packet_id, filters = packets.read_unsubscribe(body)
        for topic_filter in filters:
            session.unsubscribe(topic_filter)
        writer.write(packets.acknowledgement(packets.UNSUBACK, packet_id))
    else:
        raise MalformedPacket("no client sends that")

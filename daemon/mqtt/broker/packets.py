"""Read and write the packets of MQTT 3.1.1; no I/O but for reading from a stream."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = 1, 2, 3, 4, 5, 6, 7, 8
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 9, 10, 11, 12, 13, 14
EXACTLY_ONCE: Final = 2
ACCEPTED, WRONG_VERSION, BAD_ID, FULL, REFUSED = 0, 1, 2, 3, 5
LEVEL: Final = 4  # the protocol level of MQTT 3.1.1
NO_SUBSCRIPTION: Final = 0x80
PONG: Final = bytes((PINGRESP << 4, 0))
LEVELS: Final = 200
"""Levels of a topic or filter at most, as in mosquitto: each is compared with each subscription."""

_LENGTH_BYTES: Final = 4


class MalformedPacket(Exception):
    """A packet that breaks the protocol; its connection ends."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A message on its way."""

    topic: str
    payload: bytes
    qos: int
    retain: bool

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.topic) + len(self.payload) + 100


@dataclass(frozen=True, slots=True)
class Connect:
    """What a client says first."""

    level: int
    client_id: str
    clean: bool
    keepalive_s: int
    will: Publication | None
    user: str | None
    password: bytes | None


class _Body:
    """Reads the fields of a packet, one after the other.

    Raises:
        MalformedPacket: If the packet ends too early, or a text is none.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise MalformedPacket("it ends too early")
        self._at += count
        return found

    def number(self, count: int = 2) -> int:
        return int.from_bytes(self.take(count), "big")

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            found = self.binary().decode()
        except UnicodeDecodeError as e:
            raise MalformedPacket("a text is not UTF-8") from e
        if "\0" in found:
            raise MalformedPacket("a text has a NUL")
        return found

    def topic(self) -> str:
        found = self.text()
        if not found or set(found) & set("+#") or found.count("/") >= LEVELS:
            raise MalformedPacket("it is no message to a topic")
        return found

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    @property
    def is_over(self) -> bool:
        return self._at == len(self._data)


async def read(stream: asyncio.StreamReader, longest: int) -> tuple[int, int, bytes]:
    """Read one packet; return its kind, its flags and its body.

    Args:
        stream: The client's stream.
        longest: The longest body, bytes.

    Raises:
        MalformedPacket: If the body is longer, or its length cannot be read.
        IncompleteReadError: If the stream ends.
    """
    first = (await stream.readexactly(1))[0]
    length = 0
    for i in range(_LENGTH_BYTES):
        byte = (await stream.readexactly(1))[0]
        length |= (byte & 0x7F) << 7 * i
        if not byte & 0x80:
            break
    else:
        raise MalformedPacket("its length has no end")
    if length > longest:
        raise MalformedPacket(f"it has {length} bytes, at most {longest} are taken")
    return first >> 4, first & 0x0F, await stream.readexactly(length)


def read_connect(data: bytes) -> Connect:
    """Read the body of a CONNECT; of another protocol level only the level is right.

    Raises:
        MalformedPacket: If it is none.
    """
    body = _Body(data)
    if body.text() not in {"MQTT", "MQIsdp"}:
        raise MalformedPacket("it is no MQTT")
    level, flags, keepalive_s = body.number(1), body.number(1), body.number()
    if level != LEVEL:
        return Connect(level, "", clean=True, keepalive_s=0, will=None, user=None, password=None)
    client_id = body.text()
    will = None
    if flags & 0x04:
        topic, payload = body.topic(), body.binary()
        will = Publication(topic, payload, min(flags >> 3 & 3, 1), bool(flags & 0x20))
    user = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    return Connect(level, client_id, bool(flags & 0x02), keepalive_s, will, user, password)


def read_publish(flags: int, data: bytes) -> tuple[Publication, int]:
    """Read the body of a PUBLISH; return the message and its packet id, 0 without one.

    Raises:
        MalformedPacket: If it is none, or its topic is empty, has a wildcard or too many levels.
    """
    body, qos = _Body(data), flags >> 1 & 3
    topic = body.topic()
    packet_id = body.number() if qos else 0
    if qos > EXACTLY_ONCE:
        raise MalformedPacket("it is no message to a topic")
    return Publication(topic, body.rest(), qos, bool(flags & 1)), packet_id


def read_subscribe(data: bytes) -> tuple[int, list[tuple[str, int]]]:
    """Read the body of a SUBSCRIBE; return its packet id, and the filters with their QoS.

    Raises:
        MalformedPacket: If it is none.
    """
    body = _Body(data)
    packet_id, found = body.number(), []
    while not body.is_over:
        found.append((body.text(), body.number(1)))
    return packet_id, found


def read_unsubscribe(data: bytes) -> tuple[int, list[str]]:
    """Read the body of an UNSUBSCRIBE; return its packet id and the filters.

    Raises:
        MalformedPacket: If it is none.
    """
    body = _Body(data)
    packet_id, found = body.number(), []
    while not body.is_over:
        found.append(body.text())
    return packet_id, found


def read_id(data: bytes) -> int:
    """Read the packet id of an acknowledgement.

    Raises:
        MalformedPacket: If it has none.
    """
    return _Body(data).number()


def connack(code: int, *, present: bool = False) -> bytes:
    """Return the answer to a CONNECT; `present` says that there was a session."""
    return bytes((CONNACK << 4, 2, int(present), code))


def acknowledgement(kind: int, packet_id: int) -> bytes:
    """Return a PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK."""
    return bytes((kind << 4 | (2 if kind == PUBREL else 0), 2)) + packet_id.to_bytes(2, "big")


def suback(packet_id: int, codes: Iterable[int]) -> bytes:
    """Return the answer to a SUBSCRIBE."""
    return _packet(SUBACK << 4, packet_id.to_bytes(2, "big") + bytes(codes))


def publish(message: Publication, packet_id: int, *, again: bool = False) -> bytes:
    """Return a PUBLISH; `again` says that it may have been sent before."""
    topic = message.topic.encode()
    flags = again << 3 | message.qos << 1 | message.retain
    number = packet_id.to_bytes(2, "big") if message.qos else b""
    head = len(topic).to_bytes(2, "big") + topic + number
    return _packet(PUBLISH << 4 | flags, head + message.payload)


def _packet(first: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while True:
        left, byte = left >> 7, left & 0x7F
        length.append(byte | 0x80 if left else byte)
        if not left:
            return bytes((first,)) + bytes(length) + body

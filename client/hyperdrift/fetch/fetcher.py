"""Fetch the files of a version from the daemon, over the broker that the bot has anyway.

A file comes in pieces, each asked for in turn. What is here already is kept, so a connection
that breaks costs one piece. The caller's digest decides whether the file is used.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Collection
from typing import Final

from hyperdrift.errors import BadInput, VersionNotHere
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.fetch_messages import LARGEST, FetchRequest, FilePiece
from hyperdrift.mqtt.messages import decode
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.tasks import within

# How long the daemon may take for a piece.
ANSWER_S: Final = 10.0


class Fetcher:
    """Fetches files by digest, one at a time.

    Args:
        bus: The connection to the broker; it is subscribed here.
        topics: Gives the names of the topics.
        slot: The slot of the bot.
        bot_id: Names the bot.
    """

    def __init__(self, bus: MqttConnection, topics: Topics, slot: SlotName, bot_id: str) -> None:
        self._bus, self._ask = bus, topics.fetch(slot, bot_id)
        self._parts: dict[str, bytearray] = {}
        self._expected: asyncio.Future[FilePiece] | None = None
        self._wanted = "", 0
        bus.subscribe(topics.piece(slot, bot_id), self._take)

    def keep(self, digests: Collection[str]) -> None:
        """Forget the pieces of all files but these."""
        self._parts = {k: v for k, v in self._parts.items() if k in digests}

    async def fetch(self, digest: str) -> bytes:
        """Return a file whose SHA-256 is `digest`, in hex.

        Raises:
            VersionNotHere: If the daemon does not send it; call again to continue.
        """
        part = self._parts.setdefault(digest, bytearray())
        while True:
            piece = await self._piece(digest, len(part))
            data = _bytes_of(piece)
            part += data
            if len(part) >= piece.size:
                break
            if not data or len(part) > LARGEST:
                self._parts.pop(digest)
                raise VersionNotHere("", "the daemon sent a file that has no end; update it")
        self._parts.pop(digest)
        if hashlib.sha256(part).hexdigest() != digest:
            raise VersionNotHere("", "the daemon sent a file with another digest")
        return bytes(part)

    async def _piece(self, digest: str, offset: int) -> FilePiece:
        if not self._bus.connected:
            raise VersionNotHere("", "it cannot be fetched: the broker is not connected")
        self._wanted = digest, offset
        self._expected = asyncio.get_running_loop().create_future()
        self._bus.publish(self._ask, FetchRequest(sha256=digest, offset=offset))
        try:
            piece = await within(ANSWER_S, _result(self._expected))
        except TimeoutError:
            why = f"it cannot be fetched: the daemon does not answer within {ANSWER_S:g} s"
            raise VersionNotHere("", why) from None
        finally:
            self._expected = None
        if piece.error:
            raise VersionNotHere("", f"it cannot be fetched: {piece.error}")
        return piece

    def _take(self, _topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        if self._expected is None or self._expected.done():
            return
        try:
            piece = decode(payload, FilePiece)
        except BadInput:
            return  # as if it had not come: the daemon is asked again
        if (piece.sha256, piece.offset) == self._wanted:
            self._expected.set_result(piece)


async def _result(expected: "asyncio.Future[FilePiece]") -> FilePiece:
    return await expected


def _bytes_of(piece: FilePiece) -> bytes:
    try:
        return base64.b64decode(piece.data, validate=True)
    except (binascii.Error, ValueError):
        return b""

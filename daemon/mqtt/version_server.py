"""Send the files of the ordered version to bots that cannot see the models folder.

A bot asks for a digest and an offset, over the broker that it has anyway. Only digests of a
slot's newest swap order are served, so nothing that comes over the wire is used as a path. One
piece at a time is sent, and only when everything before it has reached the broker.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Final

import structlog

from daemon.core.log_once import LogOnce
from daemon.mqtt.messages import PayloadReader
from hyperdrift.clock import Clock
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.fetch_messages import PIECE, FetchRequest, FilePiece
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.tasks import within

# The longest wait between two pieces, and the shortest: 50 pieces, 3 MB, in a second.
_SLOW_S: Final = 10.0
_PAUSE_S: Final = 0.02
# A bot asks for one piece at a time; anybody on the broker can invent bot ids.
_WAITING: Final = 100

log = structlog.get_logger()


class VersionServer:
    """Answers the bots of all slots that fetch.

    Args:
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        clock: Real time.
    """

    def __init__(self, bus: MqttConnection, topics: Topics, clock: Clock) -> None:
        self._bus, self._topics, self._clock = bus, topics, clock
        self._offered: dict[SlotName, dict[str, Path | bytes]] = {}
        self._requests: dict[str, tuple[SlotName, FetchRequest]] = {}
        self._payloads, self._unreadable = PayloadReader(), LogOnce()
        self._asked = asyncio.Event()

    def watch(self, slot: SlotName) -> None:
        """Subscribe to the requests of a slot's bots; call it once per slot."""
        self._bus.subscribe(f"{self._topics.bots(slot)[0]}/fetch", self._take)

    def offer(self, slot: SlotName, manifest: Manifest, folder: Path) -> str:
        """Serve the files of a version from now on, and of this slot no others.

        Args:
            slot: The slot.
            manifest: The pointer that is live.
            folder: The folder of its files.

        Returns:
            The digest by which bots may ask for the LATEST.json.
        """
        latest = json.dumps(dict(manifest.document), ensure_ascii=False).encode()
        digest = hashlib.sha256(latest).hexdigest()
        files = {digest: folder / name for name, digest in manifest.sha256.items()}
        self._offered[slot] = {**files, digest: latest}
        return digest

    def withdraw(self, slot: SlotName) -> None:
        """Serve no files of a slot any more."""
        self._offered.pop(slot, None)

    async def run(self) -> None:
        """Answer requests one after the other, until cancelled."""
        while True:
            await self._asked.wait()
            while self._requests:
                topic = next(iter(self._requests))
                slot, request = self._requests.pop(topic)
                self._bus.publish(topic, await self._piece(slot, request))
                with contextlib.suppress(TimeoutError):
                    await within(_SLOW_S, self._bus.flush())
                await self._clock.sleep(_PAUSE_S)
            self._asked.clear()

    def _take(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        found = self._topics.slot_of(topic)
        request = self._payloads.read(topic, payload, FetchRequest)
        if found is None or request is None:
            return
        answer = f"{topic.removesuffix('/fetch')}/piece"
        if answer in self._requests or len(self._requests) < _WAITING:
            self._requests[answer] = found[0], request  # an older one of this bot is dropped
            self._asked.set()

    async def _piece(self, slot: SlotName, asked: FetchRequest) -> FilePiece:
        source = self._offered.get(slot, {}).get(asked.sha256)
        if source is None:
            why = "no file of the version that is live now has this digest; wait for the next order"
            return FilePiece(sha256=asked.sha256, offset=asked.offset, error=why)
        try:
            data, size = await asyncio.to_thread(_read, source, asked.offset)
        except OSError as e:
            why = f"the daemon cannot read the file ({e.strerror}); it looks after it"
            if self._unreadable.begins(asked.sha256):
                log.warning("version.unreadable", slot=str(slot), path=str(source), why=e.strerror)
            return FilePiece(sha256=asked.sha256, offset=asked.offset, error=why)
        text = base64.b64encode(data).decode()
        return FilePiece(sha256=asked.sha256, offset=asked.offset, size=size, data=text)


def _read(source: Path | bytes, offset: int) -> tuple[bytes, int]:
    """Return a piece of a file, and the length of the file in bytes."""
    if isinstance(source, bytes):
        return source[offset : offset + PIECE], len(source)
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(offset)
        return file.read(PIECE), size

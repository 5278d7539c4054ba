"""A bad line between two real programs: slow, torn in the middle of a message, or deaf."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Link:
    """Carries bytes from a port of its own to that of `url` and back, as it is told to.

    Attributes:
        delay_s: How long each piece waits.
        piece: The most bytes that are carried at a time.
        deaf: Takes everything and carries nothing, while the connection stays open.
        tears: How many times, from now on, a connection is cut within a piece.
    """

    def __init__(self, url: str) -> None:
        self._to, self.port = urlsplit(url).port, 0
        self.delay_s, self.piece, self.deaf, self.tears = 0.0, 65536, False, 0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def through(self, url: str) -> str:
        """Return the address that leads here instead."""
        return url.replace(f":{self._to}", f":{self.port}")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._pump(one, other))
            for one, other in ((reader, back), (there, writer))
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, back):
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(self.piece):
                await asyncio.sleep(self.delay_s)
                if self.deaf:
                    continue
                if self.tears and len(data) > 1:
                    self.tears -= 1
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    await asyncio.sleep(0.01)  # the half is on its way before the line is cut
                    return
                writer.write(data)
                await writer.drain()


def slow(link: Link) -> None:
    """Carry fifty bytes at a time, thirty milliseconds late."""
    link.delay_s, link.piece = 0.03, 50


def torn(link: Link) -> None:
    """Cut a connection in the middle of a message, six times."""
    link.tears = 6


def deaf(link: Link) -> None:
    """Stay open and carry nothing."""
    link.deaf = True


def good(link: Link) -> None:
    """Be a good line again."""
    link.delay_s, link.piece, link.tears, link.deaf = 0.0, 65536, 0, False


WORSE = (slow, torn, deaf)

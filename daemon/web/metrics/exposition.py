"""Answer a scrape: read the daemon's state, and write it in the form that was asked for.

The state is read on the event loop, at once. Reading the disk and writing thousands of lines
happen in a thread, one scrape at a time.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import (
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from daemon.web.metrics.event_tally import EventTally
from daemon.web.metrics.families import DaemonReading, DiskFigures, families
from daemon.web.metrics.loop_delay import LoopDelay

_LOGS: Final = ("", "-wal")


class Exporter:
    """Makes the page of metrics.

    Args:
        read: Returns the state of the daemon; called on the event loop.
        store: The file of the store, in the data folder.
        tally: Counts what is told.
        delay: Measures the event loop.
    """

    def __init__(
        self,
        read: Callable[[], DaemonReading],
        store: Path,
        tally: EventTally,
        delay: LoopDelay,
    ) -> None:
        self._read, self._store, self._tally, self._delay = read, store, tally, delay
        self._process = ProcessCollector(registry=None)
        self._one = asyncio.Lock()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each counter

    async def run(self) -> None:
        """Measure the event loop until cancelled."""
        await self._delay.run()

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type.

        Args:
            accept: What the reader takes, as HTTP's header of that name says it.
        """
        async with self._one:
            now = self._read()
            return await asyncio.to_thread(self._write, now, accept)

    def _write(self, now: DaemonReading, accept: str) -> tuple[bytes, str]:
        _, content_type = choose_encoder(accept)
        parts = (self._process, self._tally, self._delay)
        scrape = _Scrape(parts, now, _disk(self._store))
        if content_type.startswith("application/openmetrics-text"):
            # Our names need no escaping, and looking for what needs it takes most of the time.
            body = openmetrics.generate_latest(scrape, openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
            return body, content_type
        return generate_latest(scrape), content_type


class _Scrape(Collector):
    """What one scrape finds."""

    def __init__(
        self,
        parts: tuple[Collector | EventTally | LoopDelay, ...],
        now: DaemonReading,
        disk: DiskFigures,
    ) -> None:
        self._parts, self._now, self._disk = parts, now, disk

    def collect(self) -> Iterator[Metric]:
        yield from families(self._now, self._disk)
        for part in self._parts:
            yield from part.collect()


def _disk(store: Path) -> DiskFigures:
    try:
        used = shutil.disk_usage(store.parent)
        size = sum(_size(Path(f"{store}{log}")) for log in _LOGS)
    except OSError:
        return DiskFigures()
    return DiskFigures(store_bytes=size, free_bytes=used.free, size_bytes=used.total)


def _size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0

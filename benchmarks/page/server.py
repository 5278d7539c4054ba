"""The real server and pages over made-up slots, each of which changes once a second.

`python -m benchmarks.page.server --slots 200 --port 8400`; beside the pages it answers `/burden`
with its memory in MiB and how long its event loop was held at most since the last question, ms.
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path

import msgspec
from aiohttp import web

from daemon.config.schema import Config, DaemonSection, SlotSection, WebSection
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import SlotState
from daemon.runtime.announcements import Announcement, Announcements
from daemon.web.pages.renderer import PageRenderer
from daemon.web.site import Site, Sources
from daemon.web.views import FeedView, JournalView, Overview, SlotView, VersionView
from hyperdrift.slot_name import SlotName
from tests.daemon.clocks import FastClock
from tests.daemon.web.pages import examples
from tests.daemon.web.server.visitors import FakeCommands

_LOOK_S = 0.002


class MadeUpSlots:
    """The data of `count` slots; `change` moves each."""

    def __init__(self, count: int) -> None:
        found = examples.slots() if count <= 4 else examples.many_slots(count).slots
        self._slots = {one.slot: one for one in found[:count]}
        self._slot, self._version = examples.slot_view(), examples.version_view()
        self._journal, self._feed = examples.journal_view(100), examples.feed_view(count)
        self.names = [SlotName.parse(name) for name in self._slots]

    def change(self) -> None:
        for name, one in self._slots.items():
            state = msgspec.structs.replace(one.state, lag_ms=random.randrange(1000))
            self._slots[name] = msgspec.structs.replace(one, state=state)

    def state(self, name: SlotName) -> SlotState:
        return self._slots[str(name)].state

    async def overview(self) -> Overview:
        return examples.overview(tuple(self._slots.values()))

    async def slot(self, name: SlotName) -> SlotView:
        return msgspec.structs.replace(self._slot, summary=self._slots[str(name)])

    async def version(self, *_: object) -> VersionView | None:
        return self._version

    async def journal(self, *_: object, **__: object) -> JournalView:
        return self._journal

    async def feed(self) -> FeedView:
        return self._feed


class Burden:
    """Answers `/burden`: what the pages cost this process."""

    def __init__(self) -> None:
        self._held_s = 0.0

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/burden", self._tell)]

    async def measure(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_LOOK_S)
            self._held_s = max(self._held_s, time.perf_counter() - began - _LOOK_S)

    async def _tell(self, _: web.Request) -> web.Response:
        held_ms, self._held_s = self._held_s * 1000, 0.0
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        rss_mib = pages * resource.getpagesize() / 2**20
        return web.json_response({"rss_mib": rss_mib, "held_ms": held_ms})


async def serve(count: int, port: int, folder: Path, hurry: float) -> None:
    """Serve until cancelled; every slot changes, and an alert comes, once a second of its clock."""
    data, clock, announcements = MadeUpSlots(count), FastClock(hurry), Announcements()
    config = Config(
        daemon=DaemonSection(data_dir=str(folder)),
        slots=tuple(SlotSection(coin=slot.coin, interval=slot.interval) for slot in data.names),
        web=WebSection(listen=f"127.0.0.1:{port}"),
    )
    sources = Sources(
        data,
        data.state,
        FakeCommands(announcements),
        announcements,
        not_ready=lambda: "",
        clock=clock,
        venue=VenueClock(clock),
        slots=data.names,
    )
    burden = Burden()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Site(config, sources, PageRenderer(), [burden]).run())
        tasks.create_task(burden.measure())
        while True:
            await clock.sleep(1)
            data.change()
            text = "gk_volatility moved"
            announcements.tell(
                Announcement(slot=str(data.names[0]), kind="drift", at_ms=clock.now_ms(), text=text)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hurry", type=float, default=1, help="Seconds of the page in a second.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(options.slots, options.port, Path(folder), options.hurry))


if __name__ == "__main__":
    main()

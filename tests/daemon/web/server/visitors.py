"""A status page without a daemon behind it, and visitors of it."""

import asyncio
import html
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec

from daemon.config.schema import Config, DaemonSection, SlotSection, WebSection
from daemon.core.clock import VenueClock
from daemon.journal.line import JournalLine
from daemon.mqtt.messages import Command, CommandReply, SlotState
from daemon.runtime.announcements import Announcements
from daemon.web.site import Site, Sources
from daemon.web.views import (
    FeedView,
    GateLine,
    JournalView,
    Overview,
    SlotSummary,
    SlotView,
    VersionLine,
    VersionView,
    WinShare,
)
from hyperdrift.slot_name import SlotName
from tests.daemon.clocks import FastClock
from tests.ports import free_port

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "1h")
LIVE_ID = "20250801_120000_0123456789ab"


def state(**changed: Any) -> SlotState:
    """Return the state of a slot that serves."""
    plain = SlotState(
        phase="serving",
        model_id=LIVE_ID,
        model_age_s=60,
        win_rate=0.5,
        trades=10,
        drift={"mom_1": 0.5},
        last_bar_t=1_750_000_000_000,
        lag_ms=100,
        retrain=None,
        mismatch=None,
    )
    return msgspec.structs.replace(plain, **changed)


VERSION = VersionLine(
    model_id=LIVE_ID,
    trained_at_utc="2025-08-01T12:00:00Z",
    live=True,
    previous=False,
    passed=True,
    promoted_by=None,
    refused_by=(),
    test_accuracy=0.7,
    signal_share=0.02,
    win_rate=0.6,
    mean_return_bp=None,
    skill=0.01,
    problem="",
)


@dataclass
class FakeData:
    """Data that a test sets."""

    states: dict[SlotName, SlotState] = field(
        default_factory=lambda: {BTC: state(), ETH: state(phase="collecting", model_id=None)}
    )
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    fails: Exception | None = None
    waits: asyncio.Event | None = None

    async def overview(self) -> Overview:
        """Return a page of all slots."""
        if self.fails:
            raise self.fails
        if self.waits:
            await self.waits.wait()
        return Overview(
            now_ms=1_750_000_000_000,
            version="0.1.0",
            since_ms=1_749_000_000_000,
            doing="",
            urgency="ok",
            headline="It lives.",
            needs="",
            venue=None,
            broker_connected=False,
            slots=tuple(map(self._summary, self.states)),
        )

    async def slot(self, name: SlotName) -> SlotView:
        """Return a page of a slot without a history."""
        return SlotView(
            summary=self._summary(name),
            equity=(),
            drift=(),
            timeline=(),
            retrain=None,
            next_retrain="",
            why_live="",
            versions=(VERSION,),
            bots=(),
            bars=(),
            feed=None,
            journal=(),
        )

    async def version(self, name: SlotName, model_id: str) -> VersionView | None:
        """Return the page of the only version."""
        if model_id != LIVE_ID:
            return None
        gate = GateLine(name="loads", passed=True, value=0.0, limit=1e-9, sentence="", why="")
        return VersionView(
            slot=str(name),
            line=VERSION,
            gates=(gate,),
            labels="",
            trained_to_ms=1_750_000_000_000,
            cause="",
            has_report=True,
            scores={"accuracy": 0.7},
            settings={},
            forms={},
            libraries={},
        )

    async def journal(
        self,
        name: SlotName | None = None,
        kinds: Collection[str] = (),
        since_ms: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> JournalView:
        """Return one entry, and note what was asked for."""
        self.asked.append((name, kinds, since_ms, before, limit))
        line = JournalLine(seq=1, at_ms=1, slot="BTC-5m", kind="alert", text="<b>it is</b>")
        return JournalView(lines=(line,), kinds=("alert",), slots=("BTC-5m",))

    async def feed(self) -> FeedView:
        """Return a page without slots."""
        return FeedView(now_ms=1_750_000_000_000, venue=None, slots=())

    def _summary(self, name: SlotName) -> SlotSummary:
        share = WinShare(value=0.5, low=None, high=None, count=10, of="signals")
        return SlotSummary(
            slot=str(name),
            urgency="ok",
            headline="",
            needs="",
            earning="",
            win_rate=share,
            top_drift=None,
            equity=(),
            state=self.states[name],
        )


class PlainPages:
    """Shows the data of a page as JSON."""

    def render(
        self,
        name: str,
        view: Any,
        *,
        signed_in: bool,
        csrf: str,
        now_ms: int,
        notice: str = "",
        query: Mapping[str, str] = {},
    ) -> str:
        return f"<p>{html.escape(notice)}</p>{self.fragment(name, view, now_ms=now_ms)}"

    def fragment(self, name: str, view: Any, *, now_ms: int) -> str:
        text = msgspec.json.format(msgspec.json.encode(view), indent=2).decode()
        return f"<pre>{html.escape(text)}</pre>"


@dataclass
class FakeCommands:
    """Takes commands, and answers them unless it is told not to."""

    announcements: Announcements
    taken: list[tuple[SlotName, Command, str]] = field(default_factory=list)
    signed: list[tuple[SlotName, bytes]] = field(default_factory=list)
    accepts: bool | None = True

    def order(self, slot: SlotName, command: Command, by: str) -> None:
        """Take a command of somebody who is known."""
        self.taken.append((slot, command, by))
        self._answer(command.request_id)

    def order_signed(self, slot: SlotName, message: bytes) -> None:
        """Take a command whose signature says who asks."""
        self.signed.append((slot, message))
        self._answer(msgspec.json.decode(message)["request_id"])

    def _answer(self, request_id: str) -> None:
        if self.accepts is not None:
            reply = CommandReply(request_id=request_id, accepted=self.accepts, detail="as you say")
            self.announcements.answered(reply)


class Visitor:
    """A browser or a program, with its own cookies."""

    def __init__(self, place: "Place", **more: Any) -> None:
        unsafe = aiohttp.CookieJar(unsafe=True)  # it keeps those of an address, as browsers do
        self._place, self.cookie_jar = place, unsafe
        self._session = aiohttp.ClientSession(place.url, cookie_jar=unsafe, **more)
        self.get, self.post = self._session.get, self._session.post

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def sign_in(self) -> str:
        """Sign in; return what the forms of this session send."""
        form = {"token": self._place.token, "to": "/feed"}
        async with self.post("/sign-in", data=form, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/feed")
        return list(self._place.site._admission.sessions._open.values())[-1].csrf


@dataclass
class Place:
    """A running page.

    Attributes:
        site: The page.
        url: Its address.
        data: What it shows.
        commands: What it gives orders to.
        data_dir: The folder with its token.
        not_ready: Why the daemon behind it is not ready.
    """

    config: Config
    data: FakeData
    commands: FakeCommands
    site: Site = field(init=False)
    not_ready: str = ""

    @property
    def url(self) -> str:
        """Its address."""
        return self.config.web.url

    @property
    def token(self) -> str:
        """Its token."""
        return (self.config.data_dir / "web" / "token").read_text().strip()

    @property
    def bearer(self) -> dict[str, str]:
        """What a program sends."""
        return {"Authorization": f"Bearer {self.token}"}


@asynccontextmanager
async def a_page(
    folder: Path, more: Any = (), *, rate: float = 20, **section: Any
) -> AsyncIterator[Place]:
    """Run a page during the block, with a clock that is `rate` times as fast as others.

    `section` has keys of `[web]`, `more` other paths.
    """
    clock, announcements = FastClock(rate), Announcements()
    config = Config(
        daemon=DaemonSection(data_dir=str(folder)),
        slots=(SlotSection(coin="BTC"), SlotSection(coin="ETH", interval="1h")),
        web=WebSection(**{"listen": f"127.0.0.1:{free_port()}", **section}),
    )
    place = Place(config, FakeData(), FakeCommands(announcements))
    sources = Sources(
        place.data,
        place.data.states.__getitem__,
        place.commands,
        announcements,
        not_ready=lambda: place.not_ready,
        clock=clock,
        venue=VenueClock(clock),
        slots=place.data.states,
    )
    place.site = Site(config, sources, PlainPages(), more)
    running = asyncio.create_task(place.site.run())
    async with asyncio.timeout(60):
        while not _is_open(config.web) and not place.site.trouble:
            await asyncio.sleep(0.01)
    try:
        yield place
    finally:
        running.cancel()
        async with asyncio.timeout(60):
            await asyncio.wait([running])


def _is_open(web: WebSection) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(web.place) == 0

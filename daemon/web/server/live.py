"""Push what changes to the pages that are open, as server-sent events.

Each page names the topics that it shows. What changed is rendered once, at most once a second,
and sent to all who show it. A page gets the newest state only: whoever reads slowly misses some
in between, and whoever does not read at all is let go.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.mqtt.messages import SlotState
from daemon.runtime.announcements import Announcement, Announcements
from daemon.web.server.connections import connection_of
from daemon.web.server.contract import PageData, PageName, Renderer
from daemon.web.server.reading import Reading
from daemon.web.server.visits import LIVE, Denied, Visit, visit_of
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

MOST_STREAMS: Final = 64
HEARTBEAT_S: Final = 15.0
SLOW_S: Final = 10.0
"""So long a visitor may take to read one push."""
LOOK_S: Final = 1.0
_REFRESH_S: Final = 30.0
"""So often a page is pushed that shows ages, though nothing happened."""
_MOST_TOPICS: Final = 8
_BYTES_PER_S: Final = 32 * 1024
"""A page of hundreds of slots is pushed every few seconds only, so that a phone can follow."""
_RETRY: Final = b"retry: 3000\n\n"
_HEARTBEAT: Final = b":\n\n"

StateOf = Callable[[SlotName], SlotState]


class _Stream:
    """One page that is open: what it shows, and what is to be sent to it."""

    def __init__(self, topics: frozenset[str], visit: Visit) -> None:
        self.topics, self.visit = topics, visit
        self.wakes, self.ends = asyncio.Event(), False
        self._waiting: dict[str, bytes] = {}

    def put(self, topic: str, payload: bytes) -> None:
        """Send this soon; it replaces what waits of the same topic."""
        self._waiting[topic] = payload
        self.wakes.set()

    def take(self) -> bytes:
        """Return all that waits, empty if nothing does."""
        self.wakes.clear()
        found = b"".join(self._waiting.values())
        self._waiting.clear()
        return found

    def end(self) -> None:
        """Let the stream end."""
        self.ends = True
        self.wakes.set()


class LiveUpdates:
    """The pages that are open, and what they are told.

    Topics are `overview`, `feed`, `journal` and `slot-<slot>`.

    Args:
        reading: Knows the slots.
        data: What the pages show.
        renderer: Makes HTML of what changed.
        state_of: Returns the state of a slot.
        announcements: Tells what happens.
        clock: Real time.
        venue: The clock that pages tell the time by.
    """

    def __init__(
        self,
        reading: Reading,
        data: PageData,
        renderer: Renderer,
        *,
        state_of: StateOf,
        announcements: Announcements,
        clock: Clock,
        venue: VenueClock,
    ) -> None:
        self._reading, self._data, self._renderer = reading, data, renderer
        self._state_of, self._announcements = state_of, announcements
        self._clock, self._venue = clock, venue
        self._streams: set[_Stream] = set()
        self._seen: dict[SlotName, SlotState] = {}
        self._changed: set[str] = set()
        self._pushed_s: dict[str, float] = {}
        self._rest_s: dict[str, float] = {}
        self._number, self._faults = 0, LogOnce()

    def routes(self) -> list[web.RouteDef]:
        """Return the path of the stream."""
        return [web.get(LIVE, self._stream, allow_head=False)]

    def end_all(self) -> None:
        """End every stream; browsers ask again."""
        for stream in self._streams:
            stream.end()

    async def run(self) -> None:
        """Look once a second for what changed, and push it, until cancelled."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._announcements.listen(self._heard))
            while True:
                await self._clock.sleep(LOOK_S)
                if self._streams:
                    await self._look()
                    await self._push(self._due())
                else:
                    self._changed.clear()

    def _heard(self, told: Announcement) -> None:
        self._changed |= {"overview", "journal", *([f"slot-{told.slot}"] if told.slot else [])}

    async def _look(self) -> None:
        """Find the slots whose states changed."""
        slots = self._reading.slots
        self._end_removed(slots)
        wanted = self._wanted()
        all_slots = not wanted.isdisjoint({"overview", "feed"})
        for slot in slots:
            if not all_slots and f"slot-{slot}" not in wanted:
                continue
            if not self._reading.has(slot):  # it was removed meanwhile
                continue
            state = msgspec.structs.replace(self._state_of(slot), model_age_s=None, lag_ms=None)
            if self._seen.get(slot) != state:
                self._seen[slot] = state
                self._changed |= {"overview", "feed", f"slot-{slot}"}
            await self._clock.sleep(0)  # with hundreds of slots, bars go in between

    def _wanted(self) -> frozenset[str]:
        lasting = (stream.topics for stream in self._streams if not stream.ends)
        return frozenset[str]().union(*lasting)

    def _end_removed(self, slots: Collection[SlotName]) -> None:
        """End the pages of slots that are no more; who asks again is told so."""
        for slot in self._seen.keys() - set(slots):
            del self._seen[slot]
            self._changed |= {"overview", "feed"}
            for stream in self._streams:
                if f"slot-{slot}" in stream.topics:
                    stream.end()

    def _due(self) -> list[str]:
        """Return the topics to push: what changed, and what shows ages that are old by now."""
        wanted, now_s = self._wanted(), self._clock.monotonic()
        age_s = {topic: now_s - self._pushed_s.get(topic, -math.inf) for topic in wanted}
        due = [
            topic
            for topic in sorted(wanted)
            if topic in self._changed or age_s[topic] >= _REFRESH_S
            if age_s[topic] >= self._rest_s.get(topic, 0.0)
        ]
        self._changed &= wanted.difference(due)  # what has to wait is pushed later
        self._pushed_s = {topic: now_s - age_s[topic] for topic in wanted}
        self._pushed_s |= dict.fromkeys(due, now_s)
        return due

    async def _push(self, topics: Iterable[str]) -> None:
        for topic in topics:
            try:
                payload = await self._payload(topic)
            except Exception as e:
                if self._faults.begins((topic, type(e))):
                    log.exception("web.fault", path=f"{LIVE}: {topic}")
                continue
            self._rest_s[topic] = len(payload) / _BYTES_PER_S
            for stream in self._streams:
                if topic in stream.topics:
                    stream.put(topic, payload)

    async def _payload(self, topic: str) -> bytes:
        name, view = await self._view(topic)
        now_ms = self._venue.now_ms()
        text = await asyncio.to_thread(self._renderer.fragment, name, view, now_ms=now_ms)
        self._number += 1
        lines = "\n".join(f"data: {line}" for line in text.splitlines() or [""])
        return f"id: {self._number}\nevent: {topic}\n{lines}\n\n".encode()

    async def _view(self, topic: str) -> tuple[PageName, Any]:
        if topic == "overview":
            return "overview", await self._data.overview()
        if topic == "feed":
            return "feed", await self._data.feed()
        if topic == "journal":
            return "journal", await self._data.journal()
        return "slot", await self._data.slot(self._reading.named(topic.removeprefix("slot-")))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        stream = _Stream(self._topics(request), visit_of(request))
        self._make_room(stream.visit)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        connection_of(request).last(stream.end)
        self._streams.add(stream)
        self._changed |= stream.topics  # what happened since the page was made, or was away
        try:
            await response.prepare(request)
            await self._write_until_the_end(response, stream)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams.discard(stream)
        return response

    def _make_room(self, visit: Visit) -> None:
        """End the page of a stranger, if there are too many, for somebody who is signed in."""
        if len(self._streams) < MOST_STREAMS:
            return
        strangers = (one for one in self._streams if not (one.ends or one.visit.is_signed_in))
        stranger = next(strangers, None) if visit.is_signed_in else None
        if stranger is None:
            remedy = "close some of them, or sign in"
            raise Denied(503, f"{MOST_STREAMS} pages are open already", remedy)
        stranger.end()
        self._streams.discard(stranger)

    async def _write_until_the_end(self, response: web.StreamResponse, stream: _Stream) -> None:
        payload, visit = _RETRY, stream.visit
        while not stream.ends:
            async with asyncio.timeout(SLOW_S):
                await response.write(payload)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await stream.wakes.wait()
            payload = stream.take() or _HEARTBEAT
            if visit.session and visit.session.ends_s <= self._clock.monotonic():
                return

    def _topics(self, request: web.Request) -> frozenset[str]:
        asked = request.query.get("topics", "overview,journal")
        topics = frozenset(asked.split(",", _MOST_TOPICS))
        if len(topics) > _MOST_TOPICS:
            raise Denied(400, "these are too many topics", f"ask for {_MOST_TOPICS} at most")
        for topic in topics - {"overview", "feed", "journal"}:
            self._reading.named(topic.removeprefix("slot-"))
        return topics

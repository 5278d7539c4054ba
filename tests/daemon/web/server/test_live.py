"""Pages that are open are told what changes, at once and together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from daemon.runtime.announcements import announced
from daemon.web.server import live
from tests.daemon.web.server.visitors import BTC, ETH, Place, Visitor, a_page, state


@pytest.fixture(autouse=True)
def _no_page_is_pushed_for_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_REFRESH_S", 1e9)


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str]]:
    """Yield the topic and the text of each event of a stream."""
    topic, lines = "", list[str]()
    async for raw in answer.content:
        key, _, value = raw.decode().rstrip("\n").partition(": ")
        if key == "event":
            topic = value
        elif key == "data":
            lines.append(value)
        elif not key and lines:
            yield topic, "\n".join(lines)
            topic, lines = "", []


@contextlib.asynccontextmanager
async def listening(place: Place, topics: str) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
    """Open one page that shows these topics, and read what it is sent at first."""
    async with (
        Visitor(place) as visitor,
        asyncio.timeout(60),
        visitor.get(f"/live?topics={topics}") as answer,
    ):
        assert answer.headers["Content-Type"] == "text/event-stream"
        found = events(answer)
        for _ in topics.split(","):
            await anext(found)
        yield found


async def test_a_page_is_told_of_its_own_slot_only(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, listening(place, "slot-BTC-5m") as told:
        place.data.states[ETH] = state(phase="paused")
        await asyncio.sleep(0.1)
        place.data.states[BTC] = state(phase="retraining")
        topic, text = await anext(told)
        assert topic == "slot-BTC-5m"
        assert "retraining" in text


async def test_a_page_of_a_slot_that_was_removed_ends_and_is_not_found_again(
    tmp_path: Path,
) -> None:
    async with a_page(tmp_path) as place:
        async with listening(place, "slot-BTC-5m") as told, listening(place, "overview") as others:
            await asyncio.sleep(0.1)
            del place.data.states[BTC]
            assert [topic async for topic, _ in told] == []
            assert (await anext(others))[0] == "overview"
        async with Visitor(place) as visitor, visitor.get("/live?topics=slot-BTC-5m") as answer:
            assert answer.status == 404


async def test_what_is_told_in_this_process_changes_the_journal_of_a_page(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, listening(place, "journal") as told:
        message = {"kind": "alert", "at_ms": 1, "text": "t"}
        place.commands.announcements.tell(announced("BTC-5m", message))
        assert (await anext(told))[0] == "journal"
        assert len(place.data.asked) == 2


async def test_a_page_whose_data_fails_is_told_later_and_the_others_now(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, listening(place, "overview,slot-BTC-5m") as told:
        place.data.fails = RuntimeError("a fault")
        place.data.states[BTC] = state(phase="paused")
        assert (await anext(told))[0] == "slot-BTC-5m"
        place.data.fails = None
        place.data.states[BTC] = state(phase="serving")
        assert {(await anext(told))[0], (await anext(told))[0]} == {"overview", "slot-BTC-5m"}


async def test_there_are_at_most_64_streams_and_a_closed_one_makes_room(tmp_path: Path) -> None:
    async with (
        a_page(tmp_path) as place,
        Visitor(place) as visitor,
        contextlib.AsyncExitStack() as stack,
    ):
        answers = [
            await stack.enter_async_context(visitor.get("/live")) for _ in range(live.MOST_STREAMS)
        ]
        assert {answer.status for answer in answers} == {200}
        async with visitor.get("/live") as refused:
            assert refused.status == 503
            assert "64 pages" in (await refused.json())["error"]
        async with visitor.get("/live", headers=place.bearer) as owner:
            assert owner.status == 200  # in place of a stranger's
            async with visitor.get("/live") as refused:
                assert refused.status == 503
        async with visitor.get("/healthz") as alive:
            assert alive.status == 200
        for answer in answers:
            answer.close()
        async with asyncio.timeout(60):
            while len(place.site._live._streams) == live.MOST_STREAMS:
                await asyncio.sleep(0.01)


async def test_a_daemon_that_stops_waits_for_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.web.server.listener._GOODBYE_S", 600.0)
    page = a_page(tmp_path)
    place = await page.__aenter__()
    async with Visitor(place) as visitor, contextlib.AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(visitor.get("/live")) for _ in range(3)]
        async with asyncio.timeout(60):
            await page.__aexit__(None, None, None)
        for answer in answers:
            with contextlib.suppress(aiohttp.ClientError):
                await answer.read()


async def test_who_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SLOW_S", 0.2)
    async with a_page(tmp_path) as place:
        host, port = place.config.web.place
        reader, writer = await asyncio.open_connection(host, port, limit=1000)
        writer.write(f"GET /live?topics=slot-BTC-5m HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await reader.readline()
        async with asyncio.timeout(60):
            for number in range(10_000):
                place.data.states[BTC] = state(labels=f"{number}" * 300_000)
                await asyncio.sleep(0.05)
                if not place.site._live._streams:
                    break
        writer.close()


async def test_a_stream_of_unknown_or_too_many_topics_is_refused(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        for topics, status in (("slot-SOL-5m", 404), ("x", 404), (",".join("abcdefghij"), 400)):
            async with visitor.get(f"/live?topics={topics}") as answer:
                assert answer.status == status
        assert place.site._live._streams == set()


async def test_a_stream_ends_with_its_session(tmp_path: Path) -> None:
    async with a_page(tmp_path, proxy=True) as place, Visitor(place) as visitor:
        async with visitor.get("/live") as answer:
            assert answer.status == 401
        await visitor.sign_in()
        async with visitor.get("/live") as answer, asyncio.timeout(60):
            place.site._token.replace()
            await answer.read()  # to its end
        async with visitor.get("/live") as answer:
            assert answer.status == 401


async def test_a_quiet_stream_has_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(live, "LOOK_S", 1000.0)
    async with a_page(tmp_path) as place, Visitor(place) as visitor, asyncio.timeout(60):
        async with visitor.get("/live", headers={"Last-Event-ID": "x\u00e9"}) as answer:
            lines = [await answer.content.readline() for _ in range(6)]
        assert lines == [b"retry: 3000\n", b"\n", b":\n", b"\n", b":\n", b"\n"]


async def test_a_large_page_is_pushed_less_often_and_its_newest_state_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_BYTES_PER_S", 10)
    async with a_page(tmp_path) as place, listening(place, "slot-BTC-5m") as told:
        place.data.states[BTC] = state(phase="paused")
        async with asyncio.timeout(60):
            while not place.site._live._changed:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # six seconds of the page's clock
        place.data.states[BTC] = state(phase="retraining")
        assert place.site._live._changed == {"slot-BTC-5m"}
        place.site._live._rest_s.clear()
        assert "retraining" in (await anext(told))[1]

"""A bot that sees no models folder fetches the version from the daemon, digest by digest."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daemon.mqtt.messages import encode
from daemon.registry.signing import Signer, generate
from hyperdrift.clock import SystemClock
from hyperdrift.errors import BadInput, ConfigError, VersionNotHere
from hyperdrift.fetch.fetcher import Fetcher
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.fetch_messages import PIECE, FetchRequest, FilePiece
from hyperdrift.mqtt.messages import decode
from hyperdrift.slot import ModelSlot
from tests.client.test_slot import SLOT, TOPICS, Desk, bot, desk_on
from tests.daemon.brokers import Embedded, Mosquitto, connection, until
from tests.daemon.versions import rows

ROW = rows()[0].tolist()
ELSEWHERE = Path("/nowhere/models/BTC-5m/LATEST.json")


@pytest.fixture
async def served(broker: Mosquitto | Embedded, tmp_path: Path) -> AsyncIterator[Desk]:
    """Give a desk that serves files; on its host the models lie where no bot can see them."""
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    signer = Signer.load(tmp_path / "private.pem")
    async with desk_on(broker, tmp_path, signer) as desk:
        task = asyncio.create_task(desk.swap.run())
        yield desk
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def hidden_order(desk: Desk, model_id: str) -> str:
    """Order a version by a path that does not exist here, as on another host."""
    manifest = desk.deploy(model_id)
    swap_id = desk.swap.order(SLOT, manifest, desk.registry.pointer(SLOT), "test")
    pending = desk.swap._pending[SLOT].order
    moved = {**vars(pending), "manifest": str(ELSEWHERE)}
    moved["signature"] = desk.signer.sign(moved)
    desk.bus.publish(TOPICS.model(SLOT), moved, retain=True)
    return swap_id


async def test_a_bot_on_another_host_fetches_what_it_needs_and_swaps(
    served: Desk, tmp_path: Path
) -> None:
    async with bot(served, public_key=tmp_path / "public.pem", folder=Path("/nowhere")) as slot:
        for _ in range(2):
            model_id = served.version()
            ack = await served.ack_of(served.order(served.deploy(model_id)))
            assert (ack.status, ack.error) == ("loaded", "")
            assert slot.predict(ROW).model_id == model_id


async def test_the_path_of_another_host_is_no_fault_of_the_version(
    served: Desk, tmp_path: Path
) -> None:
    async with bot(served, public_key=tmp_path / "public.pem") as slot:
        model_id = served.version()
        await served.ack_of(hidden_order(served, model_id))
        assert slot.model_id == model_id
        assert {ack.status for ack in served.acks} == {"loaded"}


async def test_what_was_fetched_starts_a_bot_again_without_daemon_and_broker(
    served: Desk, tmp_path: Path
) -> None:
    cache, key = tmp_path / "cache", tmp_path / "public.pem"
    async with bot(served, public_key=key, folder="/nowhere", cache_dir=cache):
        model_ids = [served.version() for _ in range(2)]
        for model_id in model_ids:
            await served.swap_to(model_id)
    kept = sorted(path.name for path in (cache / str(SLOT)).iterdir())
    assert len(kept) == 5, "one version: its pointer and the four files that are loaded"
    slot = ModelSlot("mqtt://127.0.0.1:1", str(SLOT), bot_id="b", public_key=key, cache_dir=cache)
    await slot.start(wait_s=60)
    assert slot.predict(ROW).model_id == model_ids[-1]
    await slot.stop()
    (golden,) = (cache / str(SLOT)).glob("golden_*")
    golden.write_bytes(golden.read_bytes() + b" ")
    slot = ModelSlot("mqtt://127.0.0.1:1", str(SLOT), bot_id="b", public_key=key, cache_dir=cache)
    await slot.start()
    assert slot.model_id is None, "a file that was changed is not loaded"
    await slot.stop()


SOON_S, LONG_S = 0.5, 60.0
"""How long an answer is waited for that does not come, and one that does."""


class Server:
    """A daemon that sends what the test wants."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked, self.silent_at = content, list[int](), set[int]()
        self.spoilt: dict[str, Any] = {}
        self.let_wait: Callable[[float], None] = lambda _: None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def listen(self, bus: Any) -> None:
        def take(_topic: str, payload: bytes, _retained: bool) -> None:
            request = decode(payload, FetchRequest)
            self.asked.append(request.offset)
            if request.offset in self.silent_at:
                self.silent_at.remove(request.offset)
                self.let_wait(LONG_S)
                return
            self.let_wait(SOON_S if request.offset + PIECE in self.silent_at else LONG_S)
            data = self.content[request.offset : request.offset + PIECE]
            piece = FilePiece(
                sha256=request.sha256,
                offset=request.offset,
                size=len(self.content),
                data=base64.b64encode(data).decode(),
            )
            bus.publish(TOPICS.piece(SLOT, "b"), {**vars(piece), **self.spoilt})

        bus.subscribe(TOPICS.fetch(SLOT, "b"), take)


@contextlib.asynccontextmanager
async def fetching(
    broker: Mosquitto | Embedded, server: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fetcher]:
    server.let_wait = partial(monkeypatch.setattr, "hyperdrift.fetch.fetcher.ANSWER_S")
    server.let_wait(LONG_S)
    theirs, ours = (
        MqttConnection(BrokerAddress.parse(broker.url), SystemClock(), encode=encode)
        for _ in range(2)
    )
    server.listen(theirs)
    fetcher = Fetcher(ours, TOPICS, SLOT, "b")
    tasks = [asyncio.create_task(bus.run()) for bus in (theirs, ours)]
    await asyncio.gather(theirs.wait_connected(), ours.wait_connected())  # and subscribed
    yield fetcher
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_fetch_that_breaks_off_goes_on_where_it_was(
    broker: Mosquitto | Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(bytes(range(256)) * 700)
    server.silent_at = {PIECE}
    async with fetching(broker, server, monkeypatch) as fetcher:
        with pytest.raises(VersionNotHere, match="does not answer"):
            await fetcher.fetch(server.digest)
        assert await fetcher.fetch(server.digest) == server.content
    assert server.asked == [0, PIECE, PIECE, 2 * PIECE]


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"data": "AAAA"}, "another digest"),
        ({"data": "!!"}, "no end"),
        ({"data": ""}, "no end"),
        ({"error": "gone"}, "gone"),
        ({"sha256": "0" * 64}, "does not answer"),
        ({"offset": 7}, "does not answer"),
        ({"size": "many"}, "does not answer"),
    ],
)
async def test_what_is_not_the_file_that_was_asked_for_is_not_taken(
    broker: Mosquitto | Embedded, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, Any], why: str
) -> None:
    server = Server(b"whole")
    if spoilt == {"data": "AAAA"}:
        spoilt = {**spoilt, "size": 3}
    server.spoilt = spoilt
    async with fetching(broker, server, monkeypatch) as fetcher:
        server.let_wait(SOON_S if why == "does not answer" else LONG_S)
        with pytest.raises(VersionNotHere, match=why):
            await fetcher.fetch(server.digest)
        server.spoilt = {}
        assert await fetcher.fetch(server.digest) == b"whole"


async def test_only_digests_of_the_live_version_are_served_and_nothing_on_the_wire_is_a_path(
    served: Desk, tmp_path: Path
) -> None:
    old = served.deploy(served.version())
    served.order(old)
    live = served.deploy(served.version())
    served.order(live)
    heard: list[FilePiece] = []
    async with connection(served.url) as bus:
        bus.subscribe(
            TOPICS.piece(SLOT, "b"), lambda _t, body, _r: heard.append(decode(body, FilePiece))
        )
        gone = [d for d in old.sha256.values() if d not in set(live.sha256.values())]
        wrong = [gone[0], "../../private.pem", str(tmp_path / "private.pem"), "", "0" * 64]
        for digest in wrong:
            bus.publish(TOPICS.fetch(SLOT, "b"), {"sha256": digest[:64], "offset": 0})
            await until(lambda d=digest: heard and heard[-1].sha256 == d[:64])  # type: ignore[misc]
            assert heard[-1].data == ""
            assert "wait for the next order" in heard[-1].error
        name, digest = next(iter(live.sha256.items()))
        bus.publish(TOPICS.fetch(SLOT, "b"), {"sha256": digest, "offset": 0})
        await until(lambda: heard[-1].sha256 == digest)
        assert heard[-1].size == (served.registry.folder(SLOT) / name).stat().st_size
        (served.registry.folder(SLOT) / name).unlink()
        bus.publish(TOPICS.fetch(SLOT, "b"), {"sha256": digest, "offset": 1})
        await until(lambda: heard[-1].offset == 1)
        assert "the daemon cannot read the file" in heard[-1].error


def test_a_bot_has_a_name_and_one_folder() -> None:
    for bot_id in ("", "x" * 201):
        with pytest.raises(BadInput, match="1 to 200 characters"):
            ModelSlot("mqtt://h", str(SLOT), bot_id=bot_id)
    with pytest.raises(ConfigError, match="not both"):
        ModelSlot("mqtt://h", str(SLOT), bot_id="b", models_dir="/m", folder="/m/BTC-5m")


def test_a_name_is_one_level_of_its_topic_whatever_it_holds() -> None:
    assert TOPICS.bot(SLOT, "a/b+#%\n") == "hyperdrift/BTC-5m/bot/a%2Fb%2B%23%25%0A"
    assert TOPICS.fetch(SLOT, "é b") == "hyperdrift/BTC-5m/bot/é b/fetch"

"""Bots where the daemon's path means nothing: in a container, on another host, two on a slot.

Each bot is a process of its own. One has the models folder at another path, in a mount
namespace. One is on a network of its own and sees no folder. One is beside the daemon.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.registry.signing import Signer, generate
from tests.client.test_slot import SLOT, TOPICS, Desk, desk_on
from tests.daemon.brokers import Mosquitto, until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="needs root, unshare and ip for the namespaces",
)

BOT = """
import sys, time
from hyperdrift import BlockingModelSlot, ModelSlot
url, bot_id, key, folder = sys.argv[1:]
inner = ModelSlot(url, "BTC-5m", bot_id=bot_id, public_key=key, folder=folder or None)
with BlockingModelSlot(inner, wait_s=120) as slot:
    while True:
        slot.predict([0.0] * 17)
        time.sleep(0.05)
"""


@dataclass
class Place:
    """A desk whose bots run anywhere; `hidden` is what covers the models folder from them."""

    desk: Desk
    root: Path
    bots: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def models(self) -> Path:
        return self.root / "models"

    def start(self, bot_id: str, url: str, *, before: str = "", folder: Path | None = None) -> None:
        """Start a bot in a mount namespace of its own, after shell commands there."""
        key = self.root / "public.pem"
        command = f'{before}\nexec "$@"'
        words = [sys.executable, "-c", BOT, url, bot_id, str(key), str(folder or "")]
        shell = ["unshare", "--mount", "sh", "-ec", command, "sh", *words]
        self.bots.append(subprocess.Popen(shell, stderr=subprocess.DEVNULL))

    async def deploy(self, bot_ids: set[str]) -> str:
        """Deploy a version; each of these bots must load it, and none may refuse."""
        model_id = self.desk.version(portable=True)
        swap_id = self.desk.order(self.desk.deploy(model_id))

        def loaded() -> set[str]:
            acks = [ack for ack in self.desk.acks if ack.swap_id == swap_id]
            return {ack.bot_id for ack in acks if ack.status == "loaded"}

        await until(lambda: loaded() >= bot_ids)
        assert all(ack.status == "loaded" for ack in self.desk.acks)
        return model_id


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    async with desk_on(broker, tmp_path, Signer.load(tmp_path / "private.pem")) as desk:
        serving = asyncio.create_task(desk.swap.run())
        made = Place(desk, tmp_path)
        yield made
        for bot in made.bots:
            bot.kill()
            bot.wait()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    await broker.stop()


@contextlib.contextmanager
def network() -> Iterator[tuple[str, str]]:
    """Make a network namespace; give its name, and the address at which it finds this host."""
    name = f"bot{secrets.token_hex(3)}"
    ours, theirs, net = f"{name}a", f"{name}b", f"10.231.{secrets.randbelow(250)}"
    steps = [
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name {theirs} netns {name}",
        f"ip addr add {net}.1/24 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {net}.2/24 dev {theirs}",
        f"ip -n {name} link set {theirs} up",
    ]
    try:
        for step in steps:
            made = subprocess.run(step.split(), capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"no network namespace here: {made.stderr.strip()}")
        yield name, f"{net}.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", ours], capture_output=True, check=False)


@contextlib.asynccontextmanager
async def carried(address: str, url: str) -> AsyncIterator[str]:
    """Carry connections from another address of this host to the broker."""
    there = int(url.rpartition(":")[2])

    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        to.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(pump(reader, on), pump(back, writer))

    server = await asyncio.start_server(carry, address, 0)
    try:
        yield f"mqtt://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_bot_in_a_container_one_on_another_host_and_one_beside_the_daemon_all_swap(
    place: Place,
) -> None:
    models, inside = place.models, place.root / "inside"
    for folder in (models, inside):
        folder.mkdir(exist_ok=True)
    # In the container the daemon's own path is an empty folder.
    mounted = f"mount --bind {models} {inside}; mount -t tmpfs none {models}"
    names = {"beside", "container", "remote"}
    with network() as (name, address):
        async with carried(address, place.desk.url) as far:
            await place.deploy(set())
            place.start("beside", place.desk.url)
            place.start("container", place.desk.url, before=mounted, folder=inside / str(SLOT))
            place.start(
                "remote",
                far,
                before=f'mount -t tmpfs none {models}\nset -- nsenter --net=/run/netns/{name} "$@"',
            )
            await until(lambda: {b.bot_id for b in place.desk.swap.bots(SLOT)} >= names)
            for _ in range(2):
                model_id = await place.deploy(names)
                await until(
                    lambda m=model_id: (
                        {  # type: ignore[misc]
                            b.presence.model_id for b in place.desk.swap.bots(SLOT)
                        }
                        == {m}
                    )
                )


async def test_a_folder_that_lags_is_waited_for_and_no_good_model_is_taken_back(
    place: Place,
) -> None:
    """A copy of the folder by another program: first the pointer, later the files."""
    copy = place.root / "copy"
    copy.mkdir()
    await place.deploy(set())
    shutil.copytree(place.desk.registry.folder(SLOT), copy / str(SLOT))
    fetched: list[str] = []
    place.desk.bus.subscribe(
        TOPICS.piece(SLOT, "lagging"), lambda topic, _body, _r: fetched.append(topic)
    )
    place.start("lagging", place.desk.url, folder=copy / str(SLOT))
    await place.deploy({"lagging"})
    assert fetched, "what the folder lacked came from the daemon"
    shutil.rmtree(copy)  # and now it is not mounted at all
    await place.deploy({"lagging"})

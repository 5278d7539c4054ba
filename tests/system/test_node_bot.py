"""The bot in TypeScript, run by Node.js against real brokers and the daemon's own registry."""

import asyncio
import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.registry.signing import Signer, generate
from hyperdrift import features
from hyperdrift.loaded_model import load_version
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.messages import BotPresence, PredictionMade, SwapAck, SwapOrder, decode
from hyperdrift.verification import GATES
from tests.client.test_slot import SLOT, TOPICS, Desk, desk_on
from tests.daemon.brokers import Embedded, Mosquitto, until
from tests.daemon.versions import rewrite, rows

FOLDER = Path(__file__).parents[2] / "examples" / "node"
BUILT = FOLDER / "dist" / "bot.js"
SOURCES = [FOLDER / name for name in ("bot.ts", "checks.mjs", "signed.mjs")]
NODE = shutil.which("node")


def not_built() -> str:
    """Say why the bot cannot be run here; nothing if it can."""
    if NODE is None:
        return "Node.js is not installed"
    if not (FOLDER / "node_modules" / "mqtt").exists() or not BUILT.exists():
        return "the packages of examples/node are not installed: make node"
    old = max(path.stat().st_mtime for path in SOURCES) > BUILT.stat().st_mtime
    return "examples/node was changed since it was built: make node" if old else ""


runs_the_bot = pytest.mark.skipif(bool(not_built()), reason=not_built())


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
async def test_the_checks_in_javascript_hold_every_vector_without_a_package() -> None:
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, str(FOLDER / "vectors.mjs"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert (process.returncode, b" 0 wrong" in said) == (0, True), said.decode()


def test_the_constants_in_javascript_are_the_clients() -> None:
    text = (FOLDER / "checks.mjs").read_text()
    gates = re.search(r"GATES = \[(.*?)\]", text, re.DOTALL)
    assert gates is not None
    assert set(re.findall(r'"(\w+)"', gates[1])) == GATES
    assert f'SCHEMA_HASH = "{features.schema_hash()}"' in text
    assert f"FEATURES = {len(features.FEATURE_NAMES)};" in text


@dataclass
class NodeBot:
    """The process of a bot; it answers one line on stdout for each row on stdin, or on stderr."""

    process: asyncio.subprocess.Process

    async def ask(self, t: int, row: list[Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"t": t, "features": row}).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), 90)
        found: dict[str, Any] = json.loads(line)
        return found

    async def refuses(self, row: str) -> str:
        """Return what the bot says of a row, given as JSON, that it cannot use."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.write(f'{{"t": 1, "features": {row}}}\n'.encode())
        while True:
            line = await asyncio.wait_for(self.process.stderr.readline(), 90)
            if not line or line.startswith(b"no prediction: "):
                return line.decode()

    async def agrees_with(self, desk: Desk, model_id: str) -> None:
        """Its probabilities are those of the portable form that the daemon serves."""
        manifest = desk.registry.manifest_path(SLOT, model_id)
        expected = load_version(manifest, form="onnx").predict(rows()[:32])
        for t, row in enumerate(rows()[:32].tolist()):
            got = await self.ask(t, row)
            assert (got["t"], got["model_id"]) == (t, model_id)
            np.testing.assert_allclose(got["p"], expected[t], atol=1e-6)


@contextlib.asynccontextmanager
async def node_bot(desk: Desk) -> AsyncIterator[NodeBot]:
    assert NODE is not None
    options = {"broker": desk.url, "slot": SLOT, "id": "node", "models": desk.root / "models"}
    options["key"] = desk.root / "public.pem"
    process = await asyncio.create_subprocess_exec(
        NODE,
        str(BUILT),
        *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield NodeBot(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def signed_desk(broker: Mosquitto | Embedded, root: Path) -> AsyncIterator[Desk]:
    generate(root / "private.pem", root / "public.pem")
    async with desk_on(broker, root, Signer.load(root / "private.pem")) as desk:
        yield desk


@runs_the_bot
async def test_a_bot_in_typescript_swaps_predicts_as_the_daemon_does_and_outlives_its_broker(
    broker: Mosquitto | Embedded, tmp_path: Path
) -> None:
    heard: list[PredictionMade] = []
    async with signed_desk(broker, tmp_path) as desk, node_bot(desk) as bot:
        desk.bus.subscribe(
            TOPICS.prediction(SLOT), lambda _t, body, _r: heard.append(decode(body, PredictionMade))
        )
        assert "BTC-5m has no model yet" in await bot.refuses(str([0] * 17))
        for model_id in (desk.version(portable=True), desk.version(portable=True)):
            ack = await desk.swap_to(model_id)
            assert (ack.status, ack.error, ack.bot_id) == ("loaded", "", "node")
            await bot.agrees_with(desk, model_id)
        await until(lambda: (b := desk.swap.bot(SLOT)) and b.model_id == model_id)
        presence = desk.swap.bot(SLOT)
        assert presence is not None
        assert (presence.forms, presence.sklearn) == (("onnx",), "")
        for unusable in ("[]", str([0] * 16), f"[{'0, ' * 16}null]", f"[{'0, ' * 16}1e999]"):
            assert "none of them NaN or infinite" in await bot.refuses(unusable)
        await until(lambda: len(heard) == 64)
        assert heard[0].features == tuple(rows()[0].tolist())
        presences: list[BotPresence] = []
        desk.bus.subscribe(
            TOPICS.bots(SLOT)[0], lambda _t, body, _r: presences.append(decode(body, BotPresence))
        )
        await broker.stop()  # it forgets what was retained
        presences.clear()
        await broker.start()
        await until(lambda: presences and presences[-1].online)
        await bot.agrees_with(desk, model_id)
        bot.process.kill()
        await until(lambda: desk.swap.bot(SLOT) is None)  # its last will


@runs_the_bot
async def test_a_bot_in_typescript_refuses_what_a_thief_sends_in_words_and_keeps_its_model(
    tmp_path: Path,
) -> None:
    broker = Embedded(tmp_path)
    await broker.start()
    try:
        async with signed_desk(broker, tmp_path) as desk:
            await refuses_all(desk)
    finally:
        await broker.stop()


async def answer_to(desk: Desk, order: SwapOrder) -> tuple[str, str]:
    """Publish an order behind the coordinator's back, and return what the bot answers."""
    answers: list[SwapAck] = []
    desk.bus.subscribe(TOPICS.ack(SLOT), lambda _t, body, _r: answers.append(decode(body, SwapAck)))
    desk.bus.publish(TOPICS.model(SLOT), order, retain=True)
    await until(lambda: answers)
    return answers[0].status, answers[0].error


async def refuses_all(desk: Desk) -> None:
    pointer, ids = desk.registry.pointer(SLOT), [desk.version(portable=True) for _ in range(4)]
    orders: list[bytes] = []
    desk.bus.subscribe(TOPICS.model(SLOT), lambda _t, body, _r: orders.append(body))
    desk.deploy(ids[0])
    oldest = pointer.read_bytes()
    async with node_bot(desk) as bot:
        await bot.agrees_with(desk, ids[0])  # loaded at the start, without an order
        assert (await desk.swap_to(ids[0])).status == "loaded"
        assert (await desk.swap_to(ids[1])).status == "loaded"
        await until(lambda: len(orders) == 2)

        async def refused(swap_id: str, why: str) -> None:
            ack = await desk.ack_of(swap_id)
            assert ack.status == "refused"
            assert why in ack.error
            assert (await bot.ask(1, rows()[0].tolist()))["model_id"] == ids[1]

        async def waits(manifest: Manifest, why: str) -> None:
            swap_id = desk.order(manifest)
            await until(lambda: (b := desk.swap.bot(SLOT)) and why in b.waiting_for)
            assert swap_id not in {ack.swap_id for ack in desk.acks}
            assert (await bot.ask(1, rows()[0].tolist()))["model_id"] == ids[1]

        tampered = desk.deploy(ids[2])
        model = pointer.parent / tampered.forms["onnx"]
        content = model.read_bytes()
        model.unlink()  # names may be hard links
        model.write_bytes(content[:-1] + b"!")
        await waits(tampered, "its SHA-256 is")
        forged = desk.deploy(ids[3])
        rewrite(pointer, signal_threshold={"up": 0.01, "down": 0.01})
        await refused(desk.order(forged), "the signature of its manifest is not the daemon's")
        again = desk.deploy(ids[0])
        pointer.write_bytes(oldest)
        await waits(again, "an old LATEST.json came back")
        foreign = "the order is not signed with the daemon's key"
        first, second = (decode(order, SwapOrder) for order in orders[:2])
        for order, why in (
            (dataclasses.replace(second, signature=""), foreign),
            (dataclasses.replace(second, reason="mine"), foreign),
            (first, "the order is older than the last accepted one"),
        ):
            assert await answer_to(desk, order) == ("refused", why)
            assert (await bot.ask(1, rows()[0].tolist()))["model_id"] == ids[1]
        await bot.agrees_with(desk, ids[1])
        desk.deploy(ids[1])  # the daemon puts it right
        assert (await desk.swap_to(ids[0])).status == "loaded"
        await bot.agrees_with(desk, ids[0])

"""A bot's own folder and environment: nothing of ours gets in its way, nothing of its in ours.

`make neighbours` runs the same in an environment with freqtrade and python-daemon beside the
client alone, and in one that has no scikit-learn; here it is this one.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.swap import SwapCoordinator
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import SwapAck
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from retrain import features
from tests.daemon.brokers import Embedded, until
from tests.daemon.versions import fitted, rows, write_version

NEIGHBOURS, LEAN_PYTHON = (
    str(Path(named).absolute()) if named else ""
    for named in map(os.environ.get, ("HYPERDRIFT_NEIGHBOURS", "HYPERDRIFT_LEAN"))
)
SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
OWN = "OWN = 'of the bot'\n"
BOT = """
import asyncio, json, sys
from pathlib import Path


class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ImportError("this environment has none")


sys.meta_path.insert(0, NoPandas())

import daemon, retrain  # its own
from hyperdrift import ModelSlot

url, key, row = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])


async def main():
    slot = ModelSlot(url, "BTC-5m", bot_id="mine", public_key=key)
    await slot.start(wait_s=60)
    prediction = slot.predict(row)
    told = {"own": [daemon.OWN, retrain.OWN], "model_id": prediction.model_id}
    print(json.dumps(told), flush=True)
    await slot.stop()


asyncio.run(main())
"""

LEAN = """
import asyncio, json, sys
from pathlib import Path

for name in ("joblib", "pandas", "scipy", "sklearn", "threadpoolctl"):
    sys.modules[name] = None  # as if it were not installed, where it is

from hyperdrift import ModelSlot

url, key, row = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])


async def main():
    slot = ModelSlot(url, "BTC-5m", bot_id="lean", public_key=key)
    await slot.start()
    live = None
    for _ in range(2):  # the first version, then the one that it is swapped for
        while slot.model_id == live:
            await asyncio.sleep(0.02)
        live = slot.model_id
        print(json.dumps([live, slot.predict(row).p_up]), flush=True)
    await slot.stop()


asyncio.run(main())
"""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Embedded]:
    made = Embedded(tmp_path)
    await made.start()
    yield made
    await made.stop()


@dataclass
class Desk:
    """A daemon's side: what it deploys and orders, and what it is answered."""

    registry: Registry
    swap: SwapCoordinator
    root: Path
    acks: list[SwapAck]

    def order(self, number: int) -> str:
        """Deploy version `number` and order it; return its model_id."""
        written = write_version(self.root / f"candidate-{number}", number, portable=True)
        model_id = self.registry.adopt(SLOT, written)
        at_ms = 1_760_000_000_000 + number
        live = self.registry.deploy(SLOT, model_id, reason="t", by="t", at_ms=at_ms)
        self.swap.order(SLOT, live, self.registry.pointer(SLOT), "test")
        return model_id


@contextlib.asynccontextmanager
async def desk_on(broker: Embedded, root: Path) -> AsyncIterator[Desk]:
    """Sign what is deployed and order it, as a daemon does."""
    generate(root / "private.pem", root / "public.pem")
    signer = Signer.load(root / "private.pem")
    registry, acks = Registry(root / "models", signer), list[SwapAck]()
    bus = MqttConnection(BrokerAddress.parse(broker.url), SystemClock())
    swap = SwapCoordinator(
        bus,
        TOPICS,
        SystemClock(),
        on_ack=lambda _slot, ack, _ms: acks.append(ack),
        on_silence=lambda _slot, _text: None,
        signer=signer,
    )
    swap.watch(SLOT)
    task = asyncio.create_task(bus.run())
    try:
        yield Desk(registry, swap, root, acks)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bot_with_a_daemon_py_and_a_retrain_py_of_its_own_runs_a_slot(
    broker: Embedded, tmp_path: Path
) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    for name, text in (("daemon.py", OWN), ("retrain.py", OWN), ("bot.py", BOT)):
        (folder / name).write_text(text)
    async with desk_on(broker, tmp_path) as desk:
        model_id = desk.order(1)
        row = json.dumps(rows()[0].tolist())
        process = await asyncio.create_subprocess_exec(
            *(NEIGHBOURS or sys.executable, "bot.py", broker.url, str(tmp_path / "public.pem")),
            row,
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(process.communicate(), 90)
        assert process.returncode == 0, error.decode()
        told = json.loads(out)
        assert told == {"own": ["of the bot"] * 2, "model_id": model_id}
        await until(lambda: desk.acks)
        assert (desk.acks[0].status, desk.acks[0].bot_id) == ("loaded", "mine")


def expected(number: int) -> float:
    frame = pd.DataFrame(rows()[:1], columns=list(features.NAMES))
    return float(fitted(number).predict_proba(frame)[0, 2])


async def test_a_bot_without_scikit_learn_swaps_live_models(
    broker: Embedded, tmp_path: Path
) -> None:
    row = rows()[0].tolist()
    (tmp_path / "bot.py").write_text(LEAN)
    async with desk_on(broker, tmp_path) as desk:
        first = desk.order(1)
        process = await asyncio.create_subprocess_exec(
            *(LEAN_PYTHON or sys.executable, "bot.py", broker.url, str(tmp_path / "public.pem")),
            json.dumps(row),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        said = [json.loads(await asyncio.wait_for(process.stdout.readline(), 90))]
        await until(lambda: desk.acks)
        second = desk.order(2)
        said.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 90)))
        assert await asyncio.wait_for(process.wait(), 90) == 0
        for number, (model_id, p_up) in enumerate(said, start=1):
            assert model_id == (first, second)[number - 1]
            assert p_up == pytest.approx(expected(number), abs=1e-9)
        await until(lambda: len(desk.acks) == 2)
        assert {ack.status for ack in desk.acks} == {"loaded"}


@pytest.mark.skipif(not NEIGHBOURS, reason="`make neighbours` names the interpreter")
def test_python_daemon_freqtrade_and_the_client_import_together() -> None:
    code = (
        "import daemon, freqtrade, hyperdrift\n"
        "from daemon import DaemonContext\n"
        "from hyperdrift import BlockingModelSlot, ModelSlot, PointerSlot\n"
        "import importlib.util\n"
        "print(importlib.util.find_spec('retrain'), importlib.util.find_spec('monitor'))"
    )
    done = subprocess.run([NEIGHBOURS, "-I", "-c", code], capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stdout.strip()) == (0, "None None"), done.stderr

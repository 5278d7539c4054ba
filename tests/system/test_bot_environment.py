"""A bot's own folder and environment: nothing of ours gets in its way, nothing of its in ours.

`make neighbours` runs the same in an environment with freqtrade and python-daemon beside the
client alone; here it is this one.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

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
from tests.daemon.brokers import Iotcore, until
from tests.daemon.versions import rows, write_version

_NAMED = os.environ.get("HYPERDRIFT_NEIGHBOURS", "")
NEIGHBOURS = str(Path(_NAMED).absolute()) if _NAMED else ""
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


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Iotcore]:
    made = Iotcore(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def ordered(broker: Iotcore, root: Path) -> AsyncIterator[tuple[str, list[SwapAck]]]:
    """Deploy a signed version and order it, as a daemon does."""
    generate(root / "private.pem", root / "public.pem")
    signer = Signer.load(root / "private.pem")
    registry, acks = Registry(root / "models", signer), list[SwapAck]()
    model_id = registry.adopt(SLOT, write_version(root / "candidate", 1))
    live = registry.deploy(SLOT, model_id, reason="t", by="t", at_ms=1_760_000_000_000)
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
    swap.order(SLOT, live, registry.pointer(SLOT), "test")
    task = asyncio.create_task(bus.run())
    try:
        yield model_id, acks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bot_with_a_daemon_py_and_a_retrain_py_of_its_own_runs_a_slot(
    broker: Iotcore, tmp_path: Path
) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    for name, text in (("daemon.py", OWN), ("retrain.py", OWN), ("bot.py", BOT)):
        (folder / name).write_text(text)
    async with ordered(broker, tmp_path) as (model_id, acks):
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
        await until(lambda: acks)
        assert (acks[0].status, acks[0].bot_id) == ("loaded", "mine")


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

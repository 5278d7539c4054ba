"""Trainers and bots whose scikit-learn is not the daemon's: a whole cycle with each.

`make oldest` names the interpreters. Each of them trains, is judged, deployed, swapped in a bot
that runs in it, and rolled back, while this process, the daemon, unpickles nothing.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from daemon.config.schema import Config, DaemonSection, RetrainSection, SlotSection
from daemon.core.clock import VenueClock
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.serving import Serving
from daemon.runtime.swap import SwapCoordinator
from daemon.training.jobs import JobOutcome, Jobs, Limits
from daemon.training.training import job_spec
from hyperdrift.clock import SystemClock
from hyperdrift.forms import joblib_form
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import SwapAck
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from tests.daemon.brokers import Embedded, until
from tests.daemon.small_retrain import interpreter
from tests.retrain.planted import HORIZON, THRESHOLD, planted

TRAINERS = [name for name in os.environ.get("HYPERDRIFT_TRAINERS", "").split(":") if name]
SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
BARS, OLDER = 4_600, 4_000
LIBRARIES = "import sklearn, numpy; print(sklearn.__version__, numpy.__version__)"
BOT = """
import asyncio, json, sys
from pathlib import Path

from hyperdrift import ModelSlot

url, key = sys.argv[1], Path(sys.argv[2])


async def main():
    slot = ModelSlot(url, "BTC-5m", bot_id="mine", public_key=key)
    await slot.start(wait_s=120)
    while line := await asyncio.to_thread(sys.stdin.readline):
        said = [slot.predict(row) for row in json.loads(line)]
        told = [[one.p_down, one.p_neutral, one.p_up] for one in said]
        print(json.dumps([said[0].model_id, told]), flush=True)
    await slot.stop()


asyncio.run(main())
"""
# One answers what the model is, and has the joblib do it: that is what this test compares.
LOAD = """
import json, sys, warnings, joblib, numpy, pandas
warnings.simplefilter("error")
folder, manifest = sys.argv[1], json.loads(sys.argv[2])
names = json.load(open(folder + "/" + manifest["feature_columns"]))["feature_cols"]
model = joblib.load(folder + "/" + manifest["meta_classifier"])
rows = numpy.load(sys.argv[3])
numpy.save(sys.argv[4], model.predict_proba(pandas.DataFrame(rows, columns=names)))
assert not [name for name in sys.modules if name.split(".")[0] in ("retrain", "daemon", "monitor")]
"""

pytestmark = [
    pytest.mark.skipif(not TRAINERS, reason="`make oldest` names the interpreters"),
    pytest.mark.slow,
]


@dataclass
class House:
    """A daemon's parts around one slot, and the bot beside it."""

    root: Path
    python: str
    config: Config
    registry: Registry
    serving: Serving
    acks: list[SwapAck]
    bus: MqttConnection
    url: str
    frame: dict[str, Any] = field(default_factory=lambda: dict(planted(BARS, seed=1)))

    async def retrain(self, bars: int) -> JobOutcome:
        frame = {name: column[:bars] for name, column in self.frame.items()}
        order = actions.StartRetrain(
            slot=str(SLOT),
            at_ms=int(frame["t"][-1]) + SLOT.interval_ms,
            job_id=f"job-{bars}",
            trigger="command",
            reason="a test",
        )
        spec = job_spec(self.config, self.config.slot(SLOT), order, self.serving)
        jobs = Jobs(self.root / "jobs", Limits(python=self.config.retrain.python, timeout_s=900))
        outcome = await jobs.retrain(order.job_id, spec, frame, lambda _line: None)
        assert outcome.passed, outcome.refusals
        self.registry.adopt(SLOT, outcome.manifest)
        return outcome

    async def change(self, action: Any) -> events.ModelServed:
        done = await self.serving.change(action)
        assert isinstance(done, events.ModelServed), done
        return done

    def deploy(self, model_id: str) -> actions.Deploy:
        return actions.Deploy(
            slot=str(SLOT), at_ms=0, job_id="j", model_id=model_id, trigger="t", reason="a test"
        )

    async def loaded(self, number: int) -> None:
        await until(lambda: len(self.acks) >= number)
        assert [(ack.status, ack.error) for ack in self.acks] == [("loaded", "")] * number


@pytest.fixture(params=TRAINERS)
async def house(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    def never(*_: Any) -> None:
        raise AssertionError("the daemon unpickles a model")

    monkeypatch.setattr(joblib_form, "load_joblib", never)
    python = str(Path(request.param).absolute())
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    signer = Signer.load(tmp_path / "private.pem")
    registry, clock, acks = Registry(tmp_path / "models", signer), SystemClock(), list[SwapAck]()
    broker = Embedded(tmp_path)
    await broker.start()
    bus = MqttConnection(BrokerAddress.parse(broker.url), clock)

    def take(_slot: SlotName, ack: SwapAck, _ms: float) -> None:
        acks.append(ack)

    swap = SwapCoordinator(
        bus, TOPICS, clock, on_ack=take, on_silence=lambda _slot, _text: None, signer=signer
    )
    swap.watch(SLOT)
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)),
        slots=(SlotSection(coin="BTC", horizon_bars=HORIZON, threshold=THRESHOLD),),
        retrain=RetrainSection(python=interpreter(tmp_path, python)),
        # The trees are few and small, the bars too: what is judged here is the way, not the model.
        gates={"train_accuracy": 0.5, "test_accuracy": 0.5, "calibrated": 0.2},
    )
    serving = Serving(SLOT, registry, swap, clock=clock, venue=VenueClock(clock))
    task = asyncio.create_task(bus.run())
    yield House(tmp_path, python, config, registry, serving, acks, bus, broker.url)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await broker.stop()


class Bot:
    """A bot's process under the interpreter that trains."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __aenter__(self) -> Self:
        script = self._house.root / "bot.py"
        script.write_text(BOT)
        self._process = await asyncio.create_subprocess_exec(
            *(self._house.python, str(script), self._house.url),
            str(self._house.root / "public.pem"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()

    async def says(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(rows.tolist()).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 240)
        model_id, given = json.loads(line)
        return model_id, np.array(given)


def by_the_joblib(house: House, rows: np.ndarray) -> np.ndarray:
    """Return what the live version's joblib says under the interpreter that wrote it."""
    assert house.serving.pointer is not None
    document = json.dumps(dict(house.serving.pointer.document))
    asked, given = house.root / "rows.npy", house.root / "given.npy"
    np.save(asked, rows)
    folder = str(house.registry.folder(SLOT))
    command = [house.python, "-I", "-c", LOAD, folder, document, str(asked), str(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return np.asarray(np.load(given))


async def test_it_trains_deploys_swaps_and_goes_back_beside_a_newer_daemon(house: House) -> None:
    asked = subprocess.check_output([house.python, "-c", LIBRARIES], text=True).split()
    rows = np.random.default_rng(0).normal(size=(1_000, 17)) / 100
    first = await house.retrain(OLDER)
    await house.change(house.deploy(first.model_id))
    champion = house.serving.champion
    assert champion is not None
    assert champion.form == "onnx"
    assert [champion.manifest.sklearn, champion.manifest.numpy] == asked
    assert np.abs(champion.predict(rows) - by_the_joblib(house, rows)).max() < 1e-9
    async with Bot(house) as bot:
        await house.loaded(1)
        second = await house.retrain(BARS)
        compared = {gate["name"]: gate["value"] for gate in second.gates}
        assert compared["beats_champion"] is not None
        await house.change(house.deploy(second.model_id))
        await house.loaded(2)
        assert house.serving.champion is not None
        model_id, given = await bot.says(rows[:20])
        assert model_id == second.model_id
        assert np.abs(given - house.serving.champion.predict(rows[:20])).max() < 1e-9
        assert house.serving.shadow is not None
        back = actions.Rollback(slot=str(SLOT), at_ms=0, to_model_id=first.model_id, reason="worse")
        await house.change(back)
        await house.loaded(3)
        model_id, given = await bot.says(rows[:20])
        assert model_id == first.model_id
        assert np.abs(given - champion.predict(rows[:20])).max() < 1e-9

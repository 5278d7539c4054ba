"""A process that is forked from a bot answers, and follows swaps again."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from hyperdrift.slot import ModelSlot
from tests.client.test_slot import NOW, SLOT, Desk, desk_on
from tests.daemon.brokers import Mosquitto, until
from tests.daemon.versions import write_version

BEGIN = """
import faulthandler, os, sys, threading, time
from hyperdrift import BlockingModelSlot, ModelSlot, PointerSlot

def say(line):
    os.write(1, f"{line}\\n".encode())  # whole, whoever else writes

def told(slot, before=None):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        model = slot.predict([0.0] * 17).model_id
        if model != before:
            return model
        time.sleep(0.02)
    return "still " + model

if sys.argv[1] == "pointer":
    slot = PointerSlot(sys.argv[2], "BTC-5m", poll_s=0.1)
else:
    slot = BlockingModelSlot(ModelSlot(sys.argv[2], "BTC-5m", bot_id="mine"))
slot.start(120)
"""

BOT = """
before = told(slot)
# The parent is busy with all of its locks while it forks.
busy = [threading.Thread(target=lambda: [told(slot) for _ in range(200)]) for _ in range(2)]
for one in busy:
    one.start()
if os.fork() == 0:
    faulthandler.dump_traceback_later(90)  # where it hangs, if it does
    say(f"child {told(slot)}")
    say(f"child {told(slot, before)}")
    slot.stop()
    os._exit(0)
for one in busy:
    one.join()
say(f"parent {before}")
say(f"parent {told(slot, before)}")
slot.stop()
os.wait()
"""

DAEMON = """
for _ in range(2):  # as a process does that leaves its terminal
    if os.fork():
        os._exit(0)
faulthandler.dump_traceback_later(200, exit=True)
before = told(slot)
say(f"daemon {before}")
say(f"daemon {told(slot, before)}")
slot.stop()
os._exit(0)
"""

STOPS = """
if os.fork() == 0:
    slot.stop()
    slot.predict([0.0] * 17)
    say(f"child {[one.name for one in threading.enumerate()]}")
    os._exit(0)
os.wait()
slot.stop()
"""

LOADS = """
import os, sys, threading, time
from pathlib import Path

import onnxruntime
from hyperdrift.loaded_model import load_version

made, inside = onnxruntime.SessionOptions, threading.Event()

def slow():
    inside.set()
    time.sleep(0.5)  # as long as the first import of onnxruntime takes
    return made()

onnxruntime.SessionOptions = slow
thread = threading.Thread(target=load_version, args=(Path(sys.argv[1]), "onnx"), daemon=True)
thread.start()
inside.wait()
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
thread.join()
"""

FORKS = """
import os, signal, sys, threading, time
from pathlib import Path
from hyperdrift.loaded_model import load_version

model = load_version(Path(sys.argv[1]), "onnx")
over = threading.Event()

def ask():
    while not over.is_set():
        model.predict([[0.0] * 17])

busy = [threading.Thread(target=ask) for _ in range(3)]
for one in busy:
    one.start()
for number in range(150):
    time.sleep(0.002)
    if (child := os.fork()) == 0:
        signal.alarm(60)
        model.predict([[0.0] * 17])
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print(f"child {number} hangs")
        break
over.set()
"""


def ordered(root: Path, number: int) -> str:
    registry = Registry(root / "models")
    model_id = registry.adopt(
        SLOT, write_version(root / f"candidate{number}", number, portable=True)
    )
    registry.deploy(SLOT, model_id, reason="test", by="test", at_ms=NOW + number)
    return model_id


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    async with desk_on(broker, tmp_path, Signer.load(tmp_path / "private.pem")) as made:
        yield made
    await broker.stop()


class Bot:
    """A bot in a process of its own, which forks while its threads predict."""

    def __init__(self, kind: str, where: str, code: str = BOT) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + code, kind, where], stdout=subprocess.PIPE, text=True
        )
        self._said: list[str] = []

    async def says(self, *lines: str) -> None:
        """Wait for lines, in any order."""
        assert self._process.stdout is not None
        for _ in lines:
            line = await asyncio.to_thread(self._process.stdout.readline)
            self._said.append(line.strip())
        assert sorted(self._said[-len(lines) :]) == sorted(lines)

    async def end(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert await asyncio.to_thread(self._process.wait, 120) == 0


async def test_a_fork_of_a_bot_that_watches_the_folder_follows_it(tmp_path: Path) -> None:
    one = ordered(tmp_path, 1)
    bot = Bot("pointer", str(tmp_path / "models"))
    await bot.says(f"child {one}", f"parent {one}")
    two = ordered(tmp_path, 2)
    await bot.says(f"child {two}", f"parent {two}")
    await bot.end()


async def test_a_fork_of_a_bot_on_a_broker_follows_orders_under_a_name_of_its_own(
    desk: Desk,
) -> None:
    one = desk.version()
    desk.order(desk.deploy(one))
    bot = Bot("broker", desk.url)
    await bot.says(f"child {one}", f"parent {one}")
    two = desk.version()
    desk.order(desk.deploy(two))
    await bot.says(f"child {two}", f"parent {two}")
    await until(lambda: len({ack.bot_id for ack in desk.acks}) == 2)
    names = sorted({ack.bot_id for ack in desk.acks})
    assert names[0] == "mine"
    assert names[1].startswith("mine-")
    assert all(ack.status == "loaded" for ack in desk.acks)
    await bot.end()


@pytest.mark.parametrize("kind", ["pointer", "broker"])
async def test_a_bot_that_forks_twice_to_become_a_daemon_follows_swaps(
    desk: Desk, kind: str
) -> None:
    one = desk.version()
    desk.order(desk.deploy(one))
    where = str(desk.root / "models") if kind == "pointer" else desk.url
    bot = Bot(kind, where, DAEMON)
    await bot.says(f"daemon {one}")
    two = desk.version()
    desk.order(desk.deploy(two))
    await bot.says(f"daemon {two}")
    await bot.end()


async def test_a_fork_in_which_the_slot_is_stopped_predicts_and_follows_nothing(
    tmp_path: Path,
) -> None:
    ordered(tmp_path, 1)
    bot = Bot("pointer", str(tmp_path / "models"), STOPS)
    await bot.says("child ['MainThread']")
    await bot.end()


async def test_a_fork_while_a_model_is_loaded_waits_for_it_and_both_go_on(tmp_path: Path) -> None:
    ordered(tmp_path, 1)
    pointer = tmp_path / "models" / str(SLOT) / "LATEST.json"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LOADS, str(pointer))
    try:
        assert await asyncio.wait_for(process.wait(), 120) == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_a_process_that_is_forked_while_threads_predict_predicts_too(tmp_path: Path) -> None:
    ordered(tmp_path, 1)
    pointer = tmp_path / "models" / str(SLOT) / "LATEST.json"
    command = [sys.executable, "-c", FORKS, str(pointer)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


async def test_a_slot_of_asyncio_says_once_in_a_fork_that_it_does_not_follow(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    one = desk.version()
    desk.order(desk.deploy(one))
    slot = ModelSlot(desk.url, str(SLOT), bot_id="b")
    await slot.start(60)
    slot.note_fork()  # what the child of a fork calls
    for _ in range(2):
        assert slot.predict([0.0] * 17).model_id == one
    (line,) = [r.getMessage() for r in caplog.records if "slot.not_followed" in r.getMessage()]
    assert "start a BlockingModelSlot before the fork, or a ModelSlot in this process" in line

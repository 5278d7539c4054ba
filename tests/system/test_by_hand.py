"""An operator, a running daemon, a kill and an old pointer: real processes, from outside."""

import shutil
import signal
from pathlib import Path

import pytest

from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import POINTER_MOVED
from tests.daemon.brokers import Mosquitto
from tests.system.venue import SLOT, Host, Listener, host, hyperdrift, two_versions

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto-clients is not installed"
)

ORDER = f"hyperdrift/{SLOT}/model"
STATE = f"hyperdrift/{SLOT}/state"


async def test_a_promotion_goes_through_the_daemon_and_outlives_a_kill_and_an_old_pointer(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        # Nothing is trained: this is about what a person does.
        async with (
            host(tmp_path, broker.url, min_new_bars=1_000_000) as machine,
            Listener(broker.port) as bus,
        ):
            registry, one, two = two_versions(machine)
            old_pointer = registry.pointer(SLOT).read_bytes()
            async with machine.daemon() as daemon:
                await bus.wait_for(STATE, model_id=one)
                words = ("models", "promote", two, "--slot", str(SLOT), "--reason", "I know why")
                code, moved = await hyperdrift(machine, *words)
                assert (code, moved["model_id"], moved["through"]) == (0, two, "the daemon")
                promoted = await bus.wait_for(ORDER, model_id=two)
                code, found = await hyperdrift(machine, "models", "verify", "--slot", str(SLOT))
                assert (code, [finding["problem"] for finding in found]) == (0, ["", "", ""])
                daemon.signal(signal.SIGKILL)
            registry.pointer(SLOT).write_bytes(old_pointer)
            code, found = await hyperdrift(machine, "models", "verify", "--slot", str(SLOT))
            assert (code, "an old LATEST.json came back" in found[0]["problem"]) == (3, True)
            bus.messages.clear()
            async with machine.daemon():
                repaired = await bus.wait_for(ORDER, model_id=two)
                assert repaired["issued_ms"] > promoted["issued_ms"]
                await bus.wait_for(STATE, model_id=two)
            the_journal_says_who_and_why(machine, one, two)
    finally:
        await broker.stop()


def the_journal_says_who_and_why(machine: Host, one: str, two: str) -> None:
    with open_store(machine.data_dir, read_only=True) as store:
        moves = [entry.body for entry in store.journal(SLOT, kinds=[POINTER_MOVED])]
        answers = [e.body for e in store.journal(SLOT, kinds=["command_answered"])]
    told = [(move["action"], move["model_id"], move["by"]) for move in moves[:3]]
    assert told == [
        ("deploy", one, "test"),
        ("promote", two, "unproven (alice)"),
        ("rollback", two, "hyperdrift"),
    ]
    assert moves[1]["reason"] == "I know why"
    assert [answer["accepted"] for answer in answers] == [True]

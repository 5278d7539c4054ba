import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from daemon.core.tasks import running
from daemon.registry.bot_compatibility import BotCompatibility
from hyperdrift.mqtt.messages import BotPresence
from tests.daemon.brokers import until

OURS = version("scikit-learn")


def bot(sklearn: str) -> BotPresence:
    return BotPresence(online=True, bot_id="b", python="3.11.2", sklearn=sklearn)


def interpreter(folder: Path, sklearn: str) -> str:
    """Make an interpreter that has another scikit-learn installed."""
    info = folder / f"scikit_learn-{sklearn}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: scikit-learn\nVersion: {sklearn}\n"
    )
    script = folder / "python"
    ask = f'PYTHONPATH={folder} exec {sys.executable} "$@"'
    script.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\n{ask}\n")
    script.chmod(0o755)
    return str(script)


async def learnt(python: str = "") -> BotCompatibility:
    compatibility = BotCompatibility(python)
    await compatibility.learn()
    return compatibility


async def test_a_bot_with_our_library_or_one_that_does_not_say_is_no_fault() -> None:
    compatibility = await learnt()
    assert compatibility.fault(bot(OURS)) == ""
    assert compatibility.fault(bot(OURS.rpartition(".")[0] + ".99")) == ""
    assert compatibility.fault(bot("")) == ""


async def test_a_bot_with_an_older_library_is_told_of_with_what_to_do() -> None:
    assert (await learnt()).fault(bot("1.2.3")) == (
        f"bot b has scikit-learn 1.2.3, the model would be saved with {OURS}: "
        "set retrain.python to the bot's interpreter"
    )


async def test_what_counts_is_the_interpreter_that_trains(tmp_path: Path) -> None:
    compatibility = await learnt(interpreter(tmp_path, "1.2.0"))
    assert compatibility.fault(bot("1.2.3")) == ""
    assert "saved with 1.2.0" in compatibility.fault(bot(OURS))


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
async def test_an_interpreter_that_cannot_be_asked_is_left_to_the_retrain(python: str) -> None:
    assert (await learnt(python)).fault(bot("1.2.3")) == ""


async def test_an_interpreter_is_asked_once_however_often_bots_come_and_again_when_it_changed(
    tmp_path: Path,
) -> None:
    compatibility, changes = await learnt(interpreter(tmp_path, "1.2.0")), list[str]()
    async with running(compatibility.follow(lambda: changes.append("changed")), "follow"):
        for _ in range(100):
            assert compatibility.fault(bot(OURS))
            await asyncio.sleep(0)
        asked = tmp_path / "asked"
        assert asked.read_text() == "asked\n"
        (tmp_path / "scikit_learn-1.2.0.dist-info").rename(
            tmp_path / f"scikit_learn-{OURS}.dist-info"
        )
        metadata = tmp_path / f"scikit_learn-{OURS}.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text().replace("1.2.0", OURS))
        assert compatibility.fault(bot(OURS))  # it answers at once with what it knows
        await until(lambda: changes == ["changed"])
        assert compatibility.fault(bot(OURS)) == ""
        assert asked.read_text() == "asked\nasked\n"

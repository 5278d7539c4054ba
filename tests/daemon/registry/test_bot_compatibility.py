import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from daemon.registry.bot_compatibility import BotCompatibility
from hyperdrift.mqtt.messages import BotPresence

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
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


async def test_a_bot_with_our_library_or_one_that_does_not_say_is_no_fault() -> None:
    assert await BotCompatibility().fault(bot(OURS)) == ""
    assert await BotCompatibility().fault(bot(OURS.rpartition(".")[0] + ".99")) == ""
    assert await BotCompatibility().fault(bot("")) == ""


async def test_a_bot_with_an_older_library_is_told_of_with_what_to_do() -> None:
    assert await BotCompatibility().fault(bot("1.2.3")) == (
        f"bot b has scikit-learn 1.2.3, the model would be saved with {OURS}: "
        "set retrain.python to the bot's interpreter"
    )


async def test_what_counts_is_the_interpreter_that_trains(tmp_path: Path) -> None:
    handshake = BotCompatibility(interpreter(tmp_path, "1.2.0"))
    assert await handshake.fault(bot("1.2.3")) == ""
    assert "saved with 1.2.0" in await handshake.fault(bot(OURS))


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
async def test_an_interpreter_that_cannot_be_asked_is_left_to_the_retrain(python: str) -> None:
    assert await BotCompatibility(python).fault(bot("1.2.3")) == ""

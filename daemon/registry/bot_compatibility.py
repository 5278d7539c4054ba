"""Check before a retrain whether the bot can load the model that the retrain would save.

A pickled model can be loaded only with the library version that wrote it. The bot's presence
names its versions. The interpreter of the child process is asked for the version that it would
save with. It is asked once, and again when the library that it named has been removed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.verification import same_library

_QUESTION = (
    "import importlib.metadata as m; d = m.distribution('scikit-learn'); print(d.version);"
    "print(d._path)"
)
_ANSWER_S = 20.0


class BotCompatibility:
    """Compares a bot's versions with those of the interpreter that trains.

    If that is not the daemon's own, its versions are unknown until `learn`.

    Args:
        python: `retrain.python`; empty for the daemon's own interpreter.
    """

    def __init__(self, python: str = "") -> None:
        self._python = python
        self._library = "" if python else version("scikit-learn")
        self._installed: Path | None = None  # removed when another version is installed
        self._outdated = asyncio.Event()

    async def learn(self) -> None:
        """Ask the interpreter that trains for its versions."""
        if self._python:
            self._library, self._installed = await _ask(self._python)

    async def follow(self, changed: Callable[[], None]) -> None:
        """Ask again, until cancelled, whenever the answer may be old; call `changed` if it was."""
        while True:
            await self._outdated.wait()
            was = self._library
            await self.learn()
            self._outdated.clear()
            if self._library != was:
                changed()

    def fault(self, bot: BotPresence) -> str:
        """Return why the bot could not load a model saved now, and what to do; "" if it could.

        It is "" too if the versions of either side are unknown: then the bot's checks decide.
        """
        if self._python and (self._installed is None or not self._installed.exists()):
            self._outdated.set()
        if "onnx" in bot.forms:
            return ""  # that form needs no scikit-learn
        if not bot.sklearn or not self._library or same_library(self._library, bot.sklearn):
            return ""
        return (
            f"bot {bot.bot_id} has scikit-learn {bot.sklearn}, the model would be saved with "
            f"{self._library}: set retrain.python to the bot's interpreter"
        )


async def _ask(python: str) -> tuple[str, Path | None]:
    """Return the version and folder of its scikit-learn; "" and None if it cannot tell."""
    try:
        child = await asyncio.create_subprocess_exec(
            *(python, "-c", _QUESTION),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # the retrain will fail and say what to do
        return "", None
    try:
        async with asyncio.timeout(_ANSWER_S):
            said, _ = await child.communicate()
    except TimeoutError:
        return "", None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    library, _, where = said.decode(errors="replace").strip().partition("\n")
    return library, Path(where) if where else None

"""Whether a bot can load what a retrain would save, asked before anything is trained.

A pickled model is only good for the library that wrote it. The bot says in its presence
what it has; what a model would be saved with is that of the child's interpreter. That one is
asked once, and again when the library that it named is gone.
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
    """Compares bots with the interpreter that trains; knows nothing of another one until `learn`.

    Args:
        python: `retrain.python`; empty for the daemon's own.
    """

    def __init__(self, python: str = "") -> None:
        self._python = python
        self._library = "" if python else version("scikit-learn")
        self._installed: Path | None = None  # goes when another version is installed
        self._doubted = asyncio.Event()

    async def learn(self) -> None:
        """Ask the interpreter that trains what it has."""
        if self._python:
            self._library, self._installed = await _ask(self._python)

    async def follow(self, changed: Callable[[], None]) -> None:
        """Ask again whenever the answer is in doubt, for ever; call `changed` if it differs."""
        while True:
            await self._doubted.wait()
            was = self._library
            await self.learn()
            self._doubted.clear()
            if self._library != was:
                changed()

    def fault(self, bot: BotPresence) -> str:
        """Say why the bot could not load a model that is saved now, and what to do, or nothing.

        Nothing too where either side does not tell: the bot's own checks then decide.
        """
        if self._python and (self._installed is None or not self._installed.exists()):
            self._doubted.set()
        if not bot.sklearn or not self._library or same_library(self._library, bot.sklearn):
            return ""
        return (
            f"bot {bot.bot_id} has scikit-learn {bot.sklearn}, the model would be saved with "
            f"{self._library}: set retrain.python to the bot's interpreter"
        )


async def _ask(python: str) -> tuple[str, Path | None]:
    """Return its scikit-learn's version and where that is; nothing if it is no help."""
    try:
        child = await asyncio.create_subprocess_exec(
            *(python, "-c", _QUESTION),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # the retrain says so, with what to do
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

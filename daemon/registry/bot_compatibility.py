"""Whether a bot can load what a retrain would save, asked before anything is trained.

A pickled model is only good for the library that wrote it. The bot says in its presence
what it has; what a model would be saved with is that of the child's interpreter.
"""

import asyncio
import contextlib
from importlib.metadata import version

from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.verification import same_library

_QUESTION = "import importlib.metadata as m; print(m.version('scikit-learn'))"
_ANSWER_S = 20.0


class BotCompatibility:
    """Compares bots with the interpreter that trains.

    Args:
        python: `retrain.python`; empty for the daemon's own.
    """

    def __init__(self, python: str = "") -> None:
        self._python = python

    async def fault(self, bot: BotPresence) -> str:
        """Say why the bot could not load a model that is saved now, and what to do, or nothing.

        Nothing too where either side does not tell: the bot's own checks then decide.
        """
        ours = await self._library() if bot.sklearn else ""
        if not ours or same_library(ours, bot.sklearn):
            return ""
        return (
            f"bot {bot.bot_id} has scikit-learn {bot.sklearn}, the model would be saved with "
            f"{ours}: set retrain.python to the bot's interpreter"
        )

    async def _library(self) -> str:
        """Return the version of scikit-learn that trains; empty if its interpreter is no help."""
        if not self._python:
            return version("scikit-learn")
        try:
            child = await asyncio.create_subprocess_exec(
                *(self._python, "-c", _QUESTION),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:  # the retrain says so, with what to do
            return ""
        try:
            async with asyncio.timeout(_ANSWER_S):
                said, _ = await child.communicate()
        except TimeoutError:
            return ""
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        return said.decode(errors="replace").strip()

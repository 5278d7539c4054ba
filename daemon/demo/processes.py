"""Start and stop the other processes of the demo, and report one that ends too early."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from hyperdrift.errors import HyperdriftError

_STOP_S: Final = 10.0
_LAST_WORDS: Final = 5


class ProcessEnded(HyperdriftError):
    """A process of the demo ended before the demo did."""


class DemoProcess:
    """A Python process with its log in a file.

    It is terminated at the end, and killed after ten seconds or at a second Ctrl-C.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        folder: Path,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._name, self._arguments, self._environ = name, arguments, environ
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **self._environ},
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops the others
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError) as e:  # or Ctrl-C a second time
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(e, asyncio.CancelledError):
                raise

    @property
    def pid(self) -> int:
        """The process id, 0 before the start."""
        return self._process.pid if self._process else 0

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def check(self) -> None:
        """Check that the process still runs.

        Raises:
            ProcessEnded: If it does not; the text has the last lines of its log.
        """
        if self._process is None or self._process.returncode is None:
            return
        words = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_WORDS:]
        said = "\n  ".join(words) or "without a word"
        msg = f"the {self._name} ended with code {self._process.returncode}:\n  {said}"
        raise ProcessEnded(msg)

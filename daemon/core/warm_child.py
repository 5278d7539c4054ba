"""Run job after job in one child process.

To start an interpreter and import scikit-learn takes as long as a small job. A child that stays
pays for it once. It may hang, die or print garbage like any other; then the next job has a new one.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from daemon.core import subprocesses
from daemon.core.errors import RetrainFailedError
from daemon.core.subprocesses import ChildReport, Limits, OnLine, Surroundings


class WarmChild:
    """One child process at a time, which reads a line of JSON for each job.

    Args:
        arguments: The command line after the interpreter.
        limits: How the child may run; the time limit holds for each job.
        where: Where it runs.
    """

    def __init__(self, arguments: tuple[str, ...], limits: Limits, where: Surroundings) -> None:
        self._arguments, self._limits, self._where = arguments, limits, where
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[str] | None = None

    async def run(self, asked: Mapping[str, Any], on_line: OnLine) -> dict[str, Any]:
        """Run one job and return its line `finished`; start the child if there is none.

        If it fails, or the caller is cancelled, the child and its workers are killed.

        Args:
            asked: The job, as plain JSON values.
            on_line: Called with each JSON line of the child while it runs.

        Raises:
            RetrainFailedError: If it ended in any other way; says why.
        """
        report, code = ChildReport(on_line), 0
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                code = await self._exchange(asked, report)
        except TimeoutError:
            limit = f"{self._limits.timeout_s:.0f} s (retrain.timeout_s)"
            raise RetrainFailedError(f"it was stopped{report.place} after {limit}") from None
        finally:
            said = "" if report.finished else await self.end()
        if report.finished:
            return report.finished
        raise subprocesses.failure(code, said, report, self._limits)

    async def end(self) -> str:
        """End the child process, if there is one; return the last part of its stderr."""
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is None or errors is None:
            return ""
        await subprocesses.end(process)
        return await errors

    async def _exchange(self, asked: Mapping[str, Any], report: ChildReport) -> int:
        """Hand over a job and read until its last line; return the exit code, 0 if it goes on."""
        if self._process is not None and self._process.returncode is not None:
            await self.end()  # it died while it had nothing to do
        process = self._process or await self._begin()
        with subprocesses.workers_end_with(process):
            assert process.stdin is not None
            with contextlib.suppress(ConnectionError):  # it ended; its output says why
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                await process.stdin.drain()
            async with contextlib.aclosing(subprocesses.json_lines(process.stdout)) as lines:
                async for line in lines:
                    report.take(line)
                    if report.finished or report.failed:
                        return 0
            return await process.wait()

    async def _begin(self) -> asyncio.subprocess.Process:
        self._process = await subprocesses.start(
            self._arguments, self._limits, self._where, stdin=asyncio.subprocess.PIPE
        )
        self._errors = asyncio.create_task(
            subprocesses.tail(self._process.stderr), name="warm-child-stderr"
        )
        return self._process

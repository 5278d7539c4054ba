"""Faults of processes: the daemon, its children, the broker and the bot are killed and hung."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

from benchmarks.chaos.fault_group import FaultGroup
from benchmarks.chaos.plan import Planned
from benchmarks.chaos.processes import KeptProcess
from benchmarks.chaos.promotion import promote
from benchmarks.chaos.setup import MEMORY_MIB, TOO_FEW_MIB, ChaosSetup

CHILD_WAIT_S = 25.0


class ProcessFaults(FaultGroup):
    def __init__(self, setup: ChaosSetup) -> None:
        super().__init__(setup)
        self._broker, self._child, self._bot = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    async def daemon_kill(self, _: Planned) -> str:
        return await _killed(self._setup.daemon, signal.SIGKILL)

    async def daemon_stop(self, _: Planned) -> str:
        if self._setup.daemon.is_stopped:
            return "missed: it hung"
        return await _killed(self._setup.daemon, signal.SIGTERM)

    async def daemon_hang(self, _: Planned) -> str:
        """Stop the daemon with SIGSTOP; only the watchdog restarts it."""
        unit = self._setup.daemon
        pid, ends = unit.pid, len(unit.ends)
        if pid is None or not unit.is_ready or not unit.send(signal.SIGSTOP):
            return "missed: it was not up"
        while len(unit.ends) == ends:
            await asyncio.sleep(0.1)
        if not unit.was_hung:
            return "untouched: it was killed before the watchdog bit"
        return "ended by the watchdog"

    async def second_daemon(self, _: Planned) -> str:
        """Start another daemon on the same folder; the one that has the lock keeps running."""
        process = await asyncio.create_subprocess_exec(
            *self._setup.daemon._command, stdout=asyncio.subprocess.PIPE,  # noqa: SLF001
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(30):
                output = (await process.communicate())[0]
        except TimeoutError:
            process.kill()
            await process.wait()
            return "missed: it was alone"
        for line in output.decode(errors="replace").splitlines():
            self._setup.manage(f"second daemon: {line}")
        return f"refused with code {process.returncode}"

    async def child_kill(self, planned: Planned) -> str:
        async with self._child_of_a_retrain() as pid:
            if pid is None:
                return "missed: no retrain began"
            await asyncio.sleep(Random(planned.details["draw"]).uniform(0, 3))
            return _signalled(pid, signal.SIGKILL)

    async def child_hang(self, _: Planned) -> str:
        async with self._child_of_a_retrain() as pid:
            if pid is None:
                return "missed: no retrain began"
            await asyncio.sleep(1)
            return _signalled(pid, signal.SIGSTOP)

    async def child_out_of_memory(self, _: Planned) -> str:
        setup = self._setup
        setup.write_config(TOO_FEW_MIB)
        try:
            setup.daemon.send(signal.SIGHUP)
            await asyncio.sleep(0.5)
            async with self._child_of_a_retrain() as pid:
                if pid is None:
                    return "missed: no retrain began"
                await _gone(pid)
                return "done"
        finally:
            setup.write_config(MEMORY_MIB)
            setup.daemon.send(signal.SIGHUP)

    async def broker_kill(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._broker, planned):
            return await _killed(self._setup.broker, signal.SIGKILL)

    async def broker_hang(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._broker, planned):
            return await _stopped(self._setup.broker, planned.for_s)

    async def broker_gone(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._broker, planned), self._setup.broker.held_down():
            await asyncio.sleep(planned.for_s)
        return f"was {planned.for_s * self._setup.speed / 3600:.1f} h of the venue's time"

    async def bot_kill(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._bot, planned):
            return await _killed(self._setup.bot, signal.SIGKILL)

    async def bot_hang(self, planned: Planned) -> str:
        async with self._one_at_a_time(self._bot, planned):
            return await _stopped(self._setup.bot, planned.for_s)

    async def bot_never_answers(self, planned: Planned) -> str:
        """Stop the bot during a swap, for longer than the time in which the order is repeated."""
        async with self._one_at_a_time(self._bot, planned):
            began = time.time()
            self._setup.bot.send(signal.SIGSTOP)
            target = await promote(self._setup, planned)
            said = await _stopped(self._setup.bot, 0 if "missed" in target else planned.for_s)
            if "missed" in target:
                return target
            is_asked = bool(self._setup.journal.when(r"swap\.ordered", began))
            return f"{said}; {target}" if is_asked else "untouched: no order was given"

    @contextlib.asynccontextmanager
    async def _child_of_a_retrain(self) -> AsyncIterator[int | None]:
        async with self._child:
            while self._find_child() is not None:  # a command would only join the running retrain
                await asyncio.sleep(0.2)
            until = time.monotonic() + CHILD_WAIT_S
            self._setup.command("retrain")
            while (pid := self._find_child()) is None and time.monotonic() < until:
                await asyncio.sleep(0.1)
            yield pid

    def _find_child(self) -> int | None:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if b"retrain" in words[1:3] and parent == self._setup.daemon.pid:
                    return int(entry.name)
        return None


async def _killed(unit: KeptProcess, number: int) -> str:
    if not unit.send(number):
        return "missed: it was not up"
    ends = len(unit.ends)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(15):
            while len(unit.ends) == ends:
                await asyncio.sleep(0.05)
    return "done"


async def _stopped(unit: KeptProcess, seconds: float) -> str:
    if not unit.send(signal.SIGSTOP):
        return "missed: it was not up"
    await asyncio.sleep(seconds)
    unit.send(signal.SIGCONT)
    return f"for {seconds:g} s"


def _signalled(pid: int, number: int) -> str:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return "missed: it had ended"
    return "done"


async def _gone(pid: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(40):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.1)

"""Run processes as a service manager does: restart them after any end, and watch them.

It uses systemd's protocol (READY, WATCHDOG) over a socket. So it detects and kills a daemon that
hangs, as systemd does on a host. tests/system/test_service.py tests systemd itself.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

RESTART_S = 0.5
ABORT_S = 5.0
START_S = 120.0
STOP_S = 10.0
_REFUSED = 2  # RestartPreventExitStatus of the unit

Note = Callable[..., None]


class KeptProcess:
    """One process that is restarted after any end.

    Args:
        name: The name of the process and of its log.
        command: The command to run.
        folder: The folder of its log and its socket.
        note: Called with each start, end and signal.
        watchdog_s: Longest silence in s once it is ready; 0 does not watch it.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        folder: Path,
        note: Note,
        *,
        watchdog_s: float = 0.0,
    ) -> None:
        self.name, self.log, self._note = name, folder / f"{name}.log", note
        dies_with_us = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        self._command, self._watchdog_s = (*dies_with_us, *command), watchdog_s
        self._address = folder / f"{name}.notify"
        self._process: asyncio.subprocess.Process | None = None
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._deadline = self._began = 0.0
        self.is_ready = False
        self.status = ""
        self.starts = 0
        self.ends: list[tuple[float, int, bool]] = []
        """Each end: the time, the exit code, and whether we caused it."""
        self.away: list[tuple[float, float]] = []
        """Spans in which it was dead, stopped or starting, wall time; without the present one."""
        self.away_since: float | None = time.time()
        self._ours = False
        self.is_stopped = self.was_hung = False
        """Whether it was sent SIGSTOP; whether the watchdog killed it last."""

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def send(self, number: int) -> bool:
        """Send a signal; return False if the process does not run."""
        if self.pid is None:
            return False
        self.is_stopped = number == signal.SIGSTOP or (self.is_stopped and number != signal.SIGCONT)
        if number == signal.SIGCONT:
            self._is_here()
        elif number != signal.SIGHUP:
            self._ours = True
            self._is_away()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True

    def _is_away(self) -> None:
        self.away_since = self.away_since or time.time()

    def _is_here(self) -> None:
        if self.away_since and (self.is_ready or not self._watchdog_s):
            self.away.append((self.away_since, time.time()))
            self.away_since = None

    @contextlib.asynccontextmanager
    async def held_down(self) -> AsyncIterator[None]:
        """Kill it, and restart it only when the block ends."""
        self._may_run.clear()
        try:
            self.send(signal.SIGKILL)
            while self.pid is not None:
                await asyncio.sleep(0.02)
            yield
        finally:
            self._may_run.set()

    async def run(self) -> None:
        """Restart it after each end until cancelled; then end it."""
        with self._listening():
            try:
                while True:
                    await self._may_run.wait()
                    code = await self._once()
                    if code == _REFUSED:
                        self._note(f"{self.name} ended with 2 and is not started again")
                        await asyncio.Event().wait()
                    await asyncio.sleep(RESTART_S)
            finally:
                await self.stop()

    async def stop(self) -> float:
        """End it as systemd does; return the seconds that it took."""
        began, process = time.monotonic(), self._process
        if process is None or process.returncode is not None:
            return 0.0
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await process.wait()
        if process.returncode is None:
            self._note(f"{self.name} did not stop within {STOP_S:g} s")
            self.send(signal.SIGKILL)
            await process.wait()
        return time.monotonic() - began

    async def _once(self) -> int:
        self.is_ready, self._ours, self._began = False, False, time.monotonic()
        self.is_stopped = self.was_hung = False
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        if self._watchdog_s:
            environment["NOTIFY_SOCKET"] = str(self._address)
            environment["WATCHDOG_USEC"] = str(round(self._watchdog_s * 1e6))
        self._deadline = time.monotonic() + START_S
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.starts += 1
        self._is_here()
        self._note(f"{self.name} started", pid=self._process.pid)
        watch = asyncio.create_task(self._watch(self._process))
        code = await self._process.wait()
        watch.cancel()
        self._is_away()
        self.is_ready = False
        self.ends.append((time.time(), code, self._ours))
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        self._note(f"{self.name} ended with {how}", ours=self._ours)
        return code

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        while self._watchdog_s and process.returncode is None:
            await asyncio.sleep(0.2)
            if time.monotonic() < self._deadline:
                continue
            what = "watchdog" if self.is_ready else "start"
            self._note(f"{self.name} {what} timeout, killed with SIGABRT")
            was_ours, self.was_hung = self._ours, True
            for number in (signal.SIGABRT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
                await asyncio.sleep(ABORT_S)
            self._ours = was_ours

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        if not self._watchdog_s:
            yield
            return
        self._address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
            listener.bind(str(self._address))
            loop = asyncio.get_running_loop()
            loop.add_reader(listener, self._hear, listener)
            try:
                yield
            finally:
                loop.remove_reader(listener)

    def _hear(self, listener: socket.socket) -> None:
        for line in listener.recv(4096).decode(errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key == "READY" and not self.is_ready:
                self.is_ready = True
                self._is_here()
                took_s = round(time.monotonic() - self._began, 1)
                self._note(f"{self.name} is ready", after_s=took_s)
            if key == "STATUS":
                self.status = value
            if key in {"READY", "WATCHDOG"}:
                self._deadline = time.monotonic() + self._watchdog_s
            elif key == "EXTEND_TIMEOUT_USEC" and not self.is_ready:
                self._deadline = max(self._deadline, time.monotonic() + float(value) / 1e6)

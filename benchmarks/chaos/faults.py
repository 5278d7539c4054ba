"""How each fault of `benchmarks.chaos` is done."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

from benchmarks.chaos.journal_gaps import copy_store, is_whole
from benchmarks.chaos.plan import WORK, Planned
from benchmarks.chaos.processes import KeptProcess
from benchmarks.chaos.setup import MEMORY_MIB, SLOT, TOO_FEW_MIB, ChaosSetup, FaultDone
from benchmarks.chaos.traces import TRACES
from benchmarks.chaos.verdicts import Occurrence
from daemon.store.data_folder import STORE_NAME

CHILD_WAIT_S = 25.0


class ChaosFaults:
    """Does what a plan says, several at once; what cannot be done twice at once waits."""

    def __init__(self, stage: ChaosSetup) -> None:
        self._stage = stage
        self._broker, self._network, self._disk = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._child, self._bot = asyncio.Lock(), asyncio.Lock()
        self._since: dict[str, float] = {}  # of what had to wait for another of its kind

    async def do(self, planned: Planned) -> None:
        """Do one fault, and note when it began and ended, or why it could not be done."""
        stage, kind = self._stage, planned.kind
        if planned.is_of_exchange:
            stage.note(f"fault {kind} begins", **planned.details)
            await asyncio.sleep(planned.for_s)
            stage.note(f"fault {kind} ends")
            return
        act: Callable[[Planned], Awaitable[str]] = getattr(self, kind)
        began = time.time()
        said = await act(planned)
        began, ended = self._since.pop(kind, began), time.time()
        details = {k: v for k, v in planned.details.items() if k != "draw"}
        stage.note(f"fault {kind} {said or 'done'}", **details)
        if kind in WORK:
            return
        if kind in {"child_kill", "child_hang"}:
            began = ended  # before that there was no child
        touched = 0 if said.startswith("untouched") else None
        stage.deeds.append(
            FaultDone(Occurrence(kind, began, ended, touched), said if "missed" in said else "")
        )

    @contextlib.asynccontextmanager
    async def _alone(self, lock: asyncio.Lock, planned: Planned) -> AsyncIterator[None]:
        """Wait for what cannot be done at the same time; only now it begins."""
        async with lock:
            self._since[planned.kind] = time.time()
            yield

    # -- processes ---------------------------------------------------------------------------

    async def daemon_kill(self, _: Planned) -> str:
        return await _killed(self._stage.daemon, signal.SIGKILL)

    async def daemon_stop(self, _: Planned) -> str:
        if self._stage.daemon.is_stopped:
            return "missed: it hung"
        return await _killed(self._stage.daemon, signal.SIGTERM)

    async def daemon_hang(self, _: Planned) -> str:
        """Stop it; only the watchdog gets it going again."""
        unit = self._stage.daemon
        pid, ends = unit.pid, len(unit.ends)
        if pid is None or not unit.is_ready or not unit.send(signal.SIGSTOP):
            return "missed: it was not up"
        while len(unit.ends) == ends:
            await asyncio.sleep(0.1)
        if not unit.was_hung:
            return "untouched: it was killed before the watchdog bit"
        return "ended by the watchdog"

    async def second_daemon(self, _: Planned) -> str:
        """Start another one on the same folder; whichever has the lock stays."""
        process = await asyncio.create_subprocess_exec(
            *self._stage.daemon._command, stdout=asyncio.subprocess.PIPE,  # noqa: SLF001
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
            self._stage.manage(f"second daemon: {line}")
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
        stage = self._stage
        stage.write_config(TOO_FEW_MIB)
        try:
            stage.daemon.send(signal.SIGHUP)
            await asyncio.sleep(0.5)
            async with self._child_of_a_retrain() as pid:
                if pid is None:
                    return "missed: no retrain began"
                await _gone(pid)
                return "done"
        finally:
            stage.write_config(MEMORY_MIB)
            stage.daemon.send(signal.SIGHUP)

    async def broker_kill(self, planned: Planned) -> str:
        async with self._alone(self._broker, planned):
            return await _killed(self._stage.broker, signal.SIGKILL)

    async def broker_hang(self, planned: Planned) -> str:
        async with self._alone(self._broker, planned):
            return await _stopped(self._stage.broker, planned.for_s)

    async def broker_gone(self, planned: Planned) -> str:
        async with self._alone(self._broker, planned), self._stage.broker.held_down():
            await asyncio.sleep(planned.for_s)
        return f"was {planned.for_s * self._stage.speed / 3600:.1f} h of the venue's time"

    async def bot_kill(self, planned: Planned) -> str:
        async with self._alone(self._bot, planned):
            return await _killed(self._stage.bot, signal.SIGKILL)

    async def bot_hang(self, planned: Planned) -> str:
        async with self._alone(self._bot, planned):
            return await _stopped(self._stage.bot, planned.for_s)

    async def bot_never_answers(self, planned: Planned) -> str:
        """Stop it in the moment of a swap, for longer than its order is repeated."""
        async with self._alone(self._bot, planned):
            began = time.time()
            self._stage.bot.send(signal.SIGSTOP)
            target = await self.promote(planned)
            said = await _stopped(self._stage.bot, 0 if "missed" in target else planned.for_s)
            if "missed" in target:
                return target
            is_asked = bool(self._stage.journal.when(r"swap\.ordered", began))
            return f"{said}; {target}" if is_asked else "untouched: no order was given"

    @contextlib.asynccontextmanager
    async def _child_of_a_retrain(self) -> AsyncIterator[int | None]:
        async with self._child:
            while self._find_child() is not None:  # a command now would only join that one
                await asyncio.sleep(0.2)
            until = time.monotonic() + CHILD_WAIT_S
            self._stage.command("retrain")
            while (pid := self._find_child()) is None and time.monotonic() < until:
                await asyncio.sleep(0.1)
            yield pid

    def _find_child(self) -> int | None:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if b"retrain" in words[1:3] and parent == self._stage.daemon.pid:
                    return int(entry.name)
        return None

    # -- files -------------------------------------------------------------------------------

    async def disk_full(self, planned: Planned) -> str:
        """Fill the disk to the last byte, and whatever is freed meanwhile."""
        async with self._alone(self._disk, planned):
            filler, until = self._stage.disk / "filler", time.monotonic() + planned.for_s
            is_whole, began = False, time.time()
            try:
                while time.monotonic() < until:
                    await asyncio.to_thread(_fill, filler)
                    await asyncio.sleep(0.2)
                is_whole = await asyncio.to_thread(self._stage.is_stored)
            finally:
                filler.unlink(missing_ok=True)
        if is_whole and not self._stage.journal.when(TRACES["disk_full"].line, began):
            return "untouched: all that was written fitted into room that the store had"
        return f"for {planned.for_s:g} s"

    async def read_only(self, planned: Planned) -> str:
        """Take the right to write from every folder and file; what is open stays, so kill it."""
        async with self._alone(self._disk, planned):
            modes: dict[Path, int] = {}
            for path in (self._stage.data, *self._stage.data.rglob("*")):
                with contextlib.suppress(OSError):
                    modes[path] = path.stat().st_mode
                    path.chmod(modes[path] & ~0o222)
            try:
                await asyncio.sleep(planned.for_s / 2)
                self._stage.daemon.send(signal.SIGKILL)
                await asyncio.sleep(planned.for_s)
            finally:
                for path, mode in modes.items():
                    with contextlib.suppress(OSError):
                        path.chmod(mode)
        return f"for {1.5 * planned.for_s:g} s, the daemon killed in it"

    async def store_corrupt(self, planned: Planned) -> str:
        random, how = Random(planned.details["draw"]), planned.details["how"]
        async with self._stage.daemon.held_down():
            path = self._stage.data / STORE_NAME
            size = path.stat().st_size if path.exists() else 0
            if size < 8192:
                return "missed: there was no store"
            before = self._stage.folder / f"before-{len(self._stage.befores)}"
            await asyncio.to_thread(copy_store, path, before)
            self._stage.befores.append((time.time(), before / path.name))
            with path.open("r+b") as file:
                if how == "cut":
                    file.truncate(size // 2)
                else:
                    places = {"header": 0, "page": random.randrange(4096, size, 4096)}
                    file.seek(places.get(how, size - 4096))
                    file.write(random.randbytes(4096))
            if await asyncio.to_thread(is_whole, path):
                return "untouched: nothing was on that page"
        return "done"

    async def model_tampered(self, planned: Planned) -> str:
        """Change a byte of the live model's file, where it lies."""
        random = Random(planned.details["draw"])
        with contextlib.suppress(Exception):
            live = self._stage.registry.live(SLOT)
            before = self._stage.registry.previous(SLOT)
            # With no way back left nobody could help, and that is another matter.
            if live is not None and before in await asyncio.to_thread(self._whole):
                path = self._stage.models / str(live.document["meta_classifier"])
                path.chmod(0o644)
                with path.open("r+b") as file:
                    file.seek(random.randrange(path.stat().st_size))
                    file.write(b"\x00\xff\x00\xff")
                return f"{path.name}"
        return "missed: the version before it is not whole"

    def _whole(self) -> list[str]:
        found = []
        for info in self._stage.registry.versions(SLOT):
            with contextlib.suppress(Exception):
                self._stage.registry.verify(SLOT, info.model_id)
                if info.passed:
                    found.append(info.model_id)
        return found

    async def pointer_lost(self, _: Planned) -> str:
        path = self._stage.models / "LATEST.json"
        try:
            path.unlink()
        except OSError as e:
            return f"missed: {e.strerror}"
        return "done"

    async def pointer_old(self, planned: Planned) -> str:
        """Put an old pointer back, whose signature is right."""
        backups = sorted((self._stage.models / "backup").glob("[0-9]*/LATEST.json"))
        if not backups:
            return "missed: there is no older one"
        chosen = Random(planned.details["draw"]).choice(backups)
        path = self._stage.models / "LATEST.json"
        try:
            path.unlink(missing_ok=True)  # not through a hard link
            shutil.copy(chosen, path)
        except OSError as e:
            return f"missed: {e.strerror}"
        return f"of {chosen.parent.name}"

    # -- network -----------------------------------------------------------------------------

    async def link_down(self, planned: Planned) -> str:
        async with self._alone(self._network, planned):
            _run("ip", "link", "set", "lo", "down")
            try:
                await asyncio.sleep(planned.for_s)
            finally:
                _run("ip", "link", "set", "lo", "up")
        return f"for {planned.for_s:g} s"

    async def link_slow(self, planned: Planned) -> str:
        async with self._alone(self._network, planned):
            # Everybody together sends some 80 kbit/s: five times what passes now.
            limit = ("rate", "16kbit", "burst", "3kb", "latency", "3s")
            _run("tc", "qdisc", "replace", "dev", "lo", "root", "tbf", *limit)
            try:
                await asyncio.sleep(planned.for_s)
            finally:
                _run("tc", "qdisc", "del", "dev", "lo", "root")
        return f"for {planned.for_s:g} s"

    async def malformed_messages(self, _: Planned) -> str:
        for topic in ("command", "trade", "prediction", "model/ack", "bot"):
            self._stage.ear.publish(f"hyperdrift/{SLOT}/{topic}", {"t": "?", "command": 3})
        return "done"

    # -- work for the faults to fall into ------------------------------------------------------

    async def promote(self, planned: Planned) -> str:
        live = None
        with contextlib.suppress(Exception):
            live = self._stage.registry.live(SLOT)
        whole = await asyncio.to_thread(self._whole)
        others = [m for m in whole if live is None or m != live.model_id]
        if not others:
            return "missed: there is no other whole version"
        target = Random(planned.details.get("draw", planned.at_s)).choice(others)
        self._stage.command("promote", model_id=target)
        return f"asked for {target}"

    async def retrain(self, _: Planned) -> str:
        self._stage.command("retrain")
        return "asked for"


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


async def _gone(pid: int, within_s: float = 40.0) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.1)


def _fill(path: Path) -> None:
    for size in (1 << 20, 4096, 1):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass


def _run(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)

"""Faults of files: the disk is full or read-only, the store or the models are damaged."""

import asyncio
import contextlib
import shutil
import signal
import time
from pathlib import Path
from random import Random

from benchmarks.chaos.fault_group import FaultGroup
from benchmarks.chaos.journal_gaps import copy_store, is_whole
from benchmarks.chaos.plan import Planned
from benchmarks.chaos.promotion import whole_versions
from benchmarks.chaos.setup import SLOT, ChaosSetup
from benchmarks.chaos.traces import TRACES
from daemon.store.data_folder import STORE_NAME


class FileFaults(FaultGroup):
    def __init__(self, setup: ChaosSetup) -> None:
        super().__init__(setup)
        self._disk = asyncio.Lock()

    async def disk_full(self, planned: Planned) -> str:
        """Fill the disk to the last byte, also the space that is freed meanwhile.

        It begins when something does not fit any more: the store has some room of its own.
        """
        async with self._one_at_a_time(self._disk, planned):
            filler, until = self._setup.disk / "filler", time.monotonic() + planned.for_s
            is_whole, is_told, began = True, False, time.time()
            try:
                while time.monotonic() < until:
                    await asyncio.to_thread(_fill, filler)
                    await asyncio.sleep(0.2)
                    is_told = bool(self._setup.journal.when(TRACES["disk_full"].line, began))
                    is_whole = not is_told and await asyncio.to_thread(self._setup.is_stored)
                    if is_whole:
                        self.began[planned.kind] = time.time()
            finally:
                filler.unlink(missing_ok=True)
        if is_whole:
            return "untouched: all that was written fitted into room that the store had"
        return f"for {planned.for_s:g} s"

    async def read_only(self, planned: Planned) -> str:
        """Make every folder and file read-only, and kill the daemon, which has files open."""
        async with self._one_at_a_time(self._disk, planned):
            modes: dict[Path, int] = {}
            for path in (self._setup.data, *self._setup.data.rglob("*")):
                with contextlib.suppress(OSError):
                    modes[path] = path.stat().st_mode
                    path.chmod(modes[path] & ~0o222)
            try:
                await asyncio.sleep(planned.for_s / 2)
                self._setup.daemon.send(signal.SIGKILL)
                await asyncio.sleep(planned.for_s)
            finally:
                for path, mode in modes.items():
                    with contextlib.suppress(OSError):
                        path.chmod(mode)
        return f"for {1.5 * planned.for_s:g} s, the daemon killed in it"

    async def store_corrupt(self, planned: Planned) -> str:
        random, how = Random(planned.details["draw"]), planned.details["how"]
        async with self._setup.daemon.held_down():
            path = self._setup.data / STORE_NAME
            size = path.stat().st_size if path.exists() else 0
            if size < 8192:
                return "missed: there was no store"
            before = self._setup.folder / f"before-{len(self._setup.undamaged)}"
            await asyncio.to_thread(copy_store, path, before)
            self._setup.undamaged.append((time.time(), before / path.name))
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
        """Change one byte of the live model's file in place."""
        random = Random(planned.details["draw"])
        with contextlib.suppress(Exception):
            live = self._setup.registry.live(SLOT)
            before = self._setup.registry.previous(SLOT)
            # The daemon can recover only if it can roll back to an undamaged version.
            if live is not None and before in await asyncio.to_thread(whole_versions, self._setup):
                path = self._setup.models / str(live.document["meta_classifier"])
                path.chmod(0o644)
                with path.open("r+b") as file:
                    file.seek(random.randrange(path.stat().st_size))
                    file.write(b"\x00\xff\x00\xff")
                return f"{path.name}"
        return "missed: the version before it is not whole"

    async def pointer_lost(self, _: Planned) -> str:
        path = self._setup.models / "LATEST.json"
        try:
            path.unlink()
        except OSError as e:
            return f"missed: {e.strerror}"
        return "done"

    async def pointer_old(self, planned: Planned) -> str:
        """Replace the pointer with an old one that has a valid signature."""
        backups = sorted((self._setup.models / "backup").glob("[0-9]*/LATEST.json"))
        if not backups:
            return "missed: there is no older one"
        chosen = Random(planned.details["draw"]).choice(backups)
        path = self._setup.models / "LATEST.json"
        try:
            path.unlink(missing_ok=True)  # writing would change its hard links too
            shutil.copy(chosen, path)
        except OSError as e:
            return f"missed: {e.strerror}"
        return f"of {chosen.parent.name}"


def _fill(path: Path) -> None:
    for size in (1 << 20, 4096, 1):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass

"""A start waits for the data folder under a service manager, and only there."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from daemon.core.errors import AnotherDaemon
from daemon.service.folder_wait import take_folder
from daemon.service.systemd_notify import SystemdNotifier
from daemon.service.watchdog import Watchdog
from daemon.store.folder_lock import folder_lock
from tests.daemon.service.test_watchdog import FakeSupervisor
from tests.fakes import FakeClock


async def test_it_waits_says_for_whom_and_takes_the_folder_when_it_is_free(tmp_path: Path) -> None:
    supervisor, clock = FakeSupervisor(), FakeClock()
    watchdog = Watchdog(supervisor, clock)
    async with contextlib.AsyncExitStack() as stack:
        with folder_lock(tmp_path):
            waits = asyncio.create_task(take_folder(stack, tmp_path, clock, watchdog))
            while not clock.slept:
                await asyncio.sleep(0.001)
            assert watchdog.start.startswith("waiting for the data folder: another hyperdrift")
        await asyncio.wait_for(waits, 60)
        alone = Watchdog(SystemdNotifier({}), clock)
        with pytest.raises(AnotherDaemon):
            await take_folder(stack, tmp_path, clock, alone)
    with folder_lock(tmp_path):
        pass

"""Take the lock of the data folder; under a service manager wait for whoever has it.

An operator's `hyperdrift retrain` holds it for minutes. A daemon that ended because of that
would be started again and again, and each start costs seconds.
"""

import contextlib
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from daemon.core.errors import AnotherDaemon, DataFolderBusy
from daemon.core.log_once import LogOnce
from daemon.service.watchdog import Watchdog
from daemon.store.folder_lock import folder_lock
from daemon.store.retrying_store import until_available
from hyperdrift.clock import Clock

log = structlog.get_logger()

_AGAIN_S: Final = 1.0


async def take_folder(
    stack: contextlib.AsyncExitStack, data_dir: Path, clock: Clock, watchdog: Watchdog
) -> None:
    """Hold the lock of the data folder until `stack` ends.

    Raises:
        AnotherDaemon: If another process has it, and no service manager started this one.
        ConfigError: If the folder cannot be made or written, and never could.
    """
    busy = LogOnce()

    def take() -> None:
        stack.enter_context(folder_lock(data_dir))

    while True:
        try:
            await until_available(take, clock, watchdog.waits)
        except DataFolderBusy as e:
            if not watchdog.is_supervised:
                raise AnotherDaemon(str(e)) from e
            watchdog.doing(partial(str, f"waiting for the data folder: {e}"))
            if busy.begins():
                log.warning("data_folder.busy", why=str(e), outcome="the start waits until it ends")
            await clock.sleep(_AGAIN_S)
        else:
            if busy.ends():
                log.info("data_folder.free")
            return

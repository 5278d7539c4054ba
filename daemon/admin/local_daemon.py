"""Find the daemon of this host without asking it, and say why it may not answer.

A process that is stopped, hangs or waits for the disk answers nobody. It still holds the lock
of its data folder, and the kernel says who does.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from daemon.config.schema import Config
from daemon.store.folder_lock import holder

# With less, the database cannot take another row.
_LEAST_BYTES: Final = 1 << 20
_LOG: Final = "`journalctl -t hyperdrift -n 20`"


def silence(config: Config) -> str:
    """Say why the daemon on this data folder does not answer; "" if there is no such process."""
    found = _daemon(config)
    if found is None:
        return ""
    if halted := stopped(config):
        return halted
    if full := disk_trouble(config.data_dir):
        return f"the daemon (process {found}) waits: {full}"
    return (
        f"the daemon (process {found}) runs and does not answer: wait a minute if it has just been "
        f"started, else `systemctl restart hyperdrift`; its log: {_LOG}"
    )


def is_running(config: Config) -> bool:
    """Return whether a process on this host is the daemon of this data folder."""
    return _daemon(config) is not None


def stopped(config: Config) -> str:
    """Say that the daemon on this data folder is stopped by a signal; "" if it is not."""
    found = _daemon(config)
    if found is None or _state(found) not in {"T", "t"}:
        return ""
    return (
        f"the daemon (process {found}) is stopped by a signal: `kill -CONT {found}` lets it go on"
    )


def disk_trouble(data_dir: Path) -> str:
    """Say that the disk of a data folder takes nothing more, and what to do; "" if it does."""
    try:
        if os.statvfs(data_dir).f_flag & os.ST_RDONLY:
            return f"{data_dir} is on a file system that is mounted read-only; remount it"
        if shutil.disk_usage(data_dir).free < _LEAST_BYTES:
            return f"the disk of {data_dir} is full; make room there"
    except OSError:
        return ""
    return ""


def _daemon(config: Config) -> int | None:
    """Return the process that runs the daemon; a command, which will end, is none."""
    found = holder(config.data_dir)
    return found if found is not None and "run" in _words(found) else None


def _words(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _state(process: int) -> str:
    """Return the state of a process in the kernel's letter: T is stopped."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        )
    except (OSError, IndexError):
        return ""

"""Let one process at a time use a folder; the kernel releases the lock when the process ends.

The file of the lock says which process that is, and which command it runs.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.core.errors import DataFolderBusy
from daemon.store.database import StoreUnavailable
from hyperdrift.errors import ConfigError

# Faults of a disk that may pass; any other fault means that the folder was never usable.
_TROUBLES: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_LONGEST: Final = 120
_LOCKS: Final = Path("/proc/locks")
_WRITE: Final = (
    "write a folder that this user may write; a service sees no home folders and writes only where "
    "ReadWritePaths= of its unit lets it"
)


def holder(data_dir: Path) -> int | None:
    """Return the process that holds the lock of a data folder; None if none does, or none is seen.

    It takes no lock, so it never stops another process from starting.
    """
    try:
        wanted, rows = (data_dir / "lock").stat(), _LOCKS.read_text().splitlines()
    except OSError:
        return None
    for row in rows:  # 1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF
        _, kind, *_, process, place, _, _ = row.split()
        major, minor, inode = place.split(":")
        device = os.makedev(int(major, 16), int(minor, 16))
        if kind == "FLOCK" and (device, int(inode)) == (wanted.st_dev, wanted.st_ino):
            return int(process)
    return None


def _whose(data_dir: Path) -> str:
    """Say who may write a folder that is another user's; "" if it is this one's, or root's."""
    try:
        owner = data_dir.stat().st_uid
    except OSError:
        return ""
    if owner in {0, os.geteuid()}:
        return ""
    name = _name(owner)
    again = " ".join(["hyperdrift", *sys.argv[1:2], "..."])
    return f"it is {name}'s, so do this as that user: `sudo -u {name} {again}`"


def left_by_root(data_dir: Path) -> str:
    """Return what to do about files of root in another user's data folder, "" if there are none.

    Args:
        data_dir: The folder, in which this process has just written.
    """
    if os.geteuid() != 0 or not data_dir.is_dir() or (owner := data_dir.stat().st_uid) == 0:
        return ""
    if all(path.lstat().st_uid for path in data_dir.iterdir()):
        return ""
    name = _name(owner)
    return (
        f"{data_dir} is {name}'s and holds files of root now, which its daemon cannot write: "
        f"`chown -R {name} {data_dir}`, and next time `sudo -u {name} hyperdrift ...`"
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


@contextlib.contextmanager
def folder_lock(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a data folder: two daemons on one would overwrite each other's deploys.

    Raises:
        ConfigError: If the folder cannot be made or written, and never could.
        StoreUnavailable: If it could be written before, or its disk is full or read-only.
        DataFolderBusy: If another process has it.
    """
    lock = data_dir / "lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        whose = _whose(data_dir) if isinstance(e, PermissionError) else ""
        if e.errno in _TROUBLES or os.path.exists(lock):  # noqa: PTH110 - False if it may not look
            remedy = whose or "check disk space and rights"
            msg = f"{data_dir} cannot be written ({e.strerror}): {remedy}"
            raise StoreUnavailable(msg) from e
        raise ConfigError(f"daemon.data_dir {data_dir}: {e.strerror}; {whose or _WRITE}") from e
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        who, _, what = os.pread(handle, _LONGEST, 0).decode(errors="replace").partition("\n")
        os.close(handle)
        named = f" ({' '.join(what.split())})" if what.strip() else ""
        which = f" (process {who})" if who.isdecimal() else ""
        msg = f"another hyperdrift{which} runs on {data_dir}{named}"
        raise DataFolderBusy(f"{msg}; stop it or set another daemon.data_dir") from e
    try:
        with contextlib.suppress(
            OSError
        ):  # on a full disk the process id is missing; the lock holds all the same
            os.ftruncate(handle, 0)
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
            os.pwrite(handle, f"{os.getpid()}\n{command}\n".encode(errors="replace")[:_LONGEST], 0)
        yield
    finally:
        os.close(handle)

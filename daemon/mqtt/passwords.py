"""The passwords of the embedded broker's users, in files that the daemon makes.

Whoever may read the file of a user may be that user. A data folder of one person's keeps them
for that person. In the service's folder the bots' group may read the bot's, and the daemon's
group the operator's: there `mqtt` belongs to the bots' group and is setgid.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from daemon.core.atomic_files import Files
from daemon.mqtt.broker.access import BOT, OPERATOR

_ALONE: Final = 0o600
_SHARED: Final = 0o640


def password_path(data_dir: Path, user: str) -> Path:
    """Return the path of the password of `bot` or `operator`, which may not exist."""
    return data_dir / "mqtt" / user


def own_passwords(data_dir: Path) -> dict[str, str]:
    """Return the passwords of bots and operators; the first call makes them.

    Raises:
        OSError: If a file cannot be read or written.
    """
    folder = data_dir / "mqtt"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shared = bool(folder.stat().st_mode & stat.S_ISGID)
    return {user: _own(password_path(data_dir, user), shared=shared) for user in (BOT, OPERATOR)}


def _own(path: Path, *, shared: bool) -> str:
    found = path.read_text().strip() if path.exists() else ""
    if not found:
        found = secrets.token_urlsafe(32)
        Files().replace(path, f"{found}\n".encode(), _ALONE)
    # First whose it is, then who may read it: a bot must not read the operator's meanwhile.
    if path.name == OPERATOR and shared and path.stat().st_gid != os.getegid():
        path.chmod(_ALONE)
        os.chown(path, -1, os.getegid())
    path.chmod(_SHARED if shared else _ALONE)
    return found

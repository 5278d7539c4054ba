"""The passwords of the embedded broker's users, in files that the daemon makes.

Whoever may read the file of a user may be that user. A data folder of one person's keeps them
for that person. In the service's folder each user has a folder that is setgid, so its password
belongs to that folder's group: the bots' or the operators'.
"""

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
    return data_dir / "mqtt" / user / "password"


def own_passwords(data_dir: Path) -> dict[str, str]:
    """Return the passwords of bots and operators; the first call makes them.

    Raises:
        OSError: If a file cannot be read or written.
    """
    found = {user: _own(password_path(data_dir, user)) for user in (BOT, OPERATOR)}
    # An operator may run a bot too, without being in a second group.
    _keep(password_path(data_dir, OPERATOR).with_name(BOT), found[BOT])
    return found


def _own(path: Path) -> str:
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _keep(path, _read(path) or secrets.token_urlsafe(32))


def _keep(path: Path, password: str) -> str:
    if _read(path) != password:
        Files().replace(path, f"{password}\n".encode(), _ALONE)
    shared = path.parent.stat().st_mode & stat.S_ISGID
    path.chmod(_SHARED if shared else _ALONE)
    return password


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""

"""Log in to the daemon's embedded broker on the same host, without being told a password.

The daemon writes the password of each user to a file, which those may read who may be that
user. It is read at each connect, so it may appear later or change.

Every user of a host can listen on a port that is free. So a password is sent only to a port
that the owner of the file, or root, listens on. A file that a bot names may be a copy: if it is
root's or the bot's own, its owner says nothing about the broker.
"""

import contextlib
import getpass
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.password_file import password_of

BOT: Final = "bot"
SERVICE: Final = Path("/var/lib/hyperdrift")
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"


class Login(Protocol):
    """Who a client says it is."""

    def pair(self) -> tuple[str | None, str | None]:
        """Return the user and the password."""

    def told(self) -> tuple[str | None, str]:
        """Return the user of the last pair, and what to do if it is refused, if that is known."""


class FixedLogin:
    """A user and a password that somebody gave."""

    def __init__(self, user: str | None, password: str | None) -> None:
        self._pair = user, password

    def pair(self) -> tuple[str | None, str | None]:
        """Return the user and the password."""
        return self._pair

    def told(self) -> tuple[str | None, str]:
        """Return the user, and nothing to do."""
        return self._pair[0], ""


class FileLogin:
    """A user whose password is in a file on this host.

    Args:
        user: The user at the broker.
        files: Where the password may be; the first that can be used is.
        port: The port that the broker listens on, if it is on this host; else None.
        copied: Whether the files may be copies, which are root's or this user's.
    """

    def __init__(
        self, user: str, files: Sequence[Path], port: int | None, *, copied: bool = False
    ) -> None:
        self._user, self._files, self._port, self._copied = user, tuple(files), port, copied
        self._last: str | None = None
        self._advice = ""

    def pair(self) -> tuple[str | None, str | None]:
        """Return the user and the password; without a file that can be used, nobody."""
        problems = []
        for file in self._files:
            try:
                with file.open("rb") as opened:
                    owner = os.fstat(opened.fileno()).st_uid
                    password = password_of(opened.read(), file)
            except FileNotFoundError:
                continue
            except OSError:
                problems.append(_unreadable(file))
                continue
            except ConfigError as e:
                problems.append(str(e))
                continue
            if stranger := self._stranger(owner):
                problems.append(f"{stranger} listens there, not the daemon: no password is sent")
                continue
            self._last = self._user
            return self._user, password
        absent = f"no password is in {' or in '.join(map(str, self._files))}"
        self._last, self._advice = None, problems[0] if problems else absent
        return None, None

    def told(self) -> tuple[str | None, str]:
        """Return the user of the last pair; if that was nobody's, why."""
        return self._last, "" if self._last else self._advice

    def _stranger(self, owner: int) -> str:
        """Return who listens on the port in place of the file's owner; "" if nobody does."""
        holders = listeners(self._port) if self._port is not None else set()
        if holders and self._copied and owner in {0, os.geteuid()}:
            return ""
        return next((user_name(uid) for uid in holders if uid not in {0, owner}), "")


def login(address: BrokerAddress, password: str | None, password_file: Path | None) -> Login:
    """Return how a bot logs in.

    Args:
        address: The broker, perhaps with a user.
        password: The user's password.
        password_file: The file with it.
    """
    port = address.port if address.is_local else None
    if password is None and password_file is not None:
        return FileLogin(address.user or BOT, (password_file,), port, copied=True)
    if password is not None or address.user or port is None:
        return FixedLogin(address.user, password)
    folders = (SERVICE, Path(os.path.expanduser("~/.local/share/hyperdrift")))  # noqa: PTH111 - a user without a home is none to raise for
    # The second is for an operator who runs a bot too.
    places = ("mqtt/bot/password", "mqtt/operator/bot")
    return FileLogin(BOT, [folder / place for folder in folders for place in places], port)


def _unreadable(file: Path) -> str:
    """Say how to get at a file that is another user's."""
    import grp  # noqa: PLC0415 - not on every system that a bot runs on

    group_id, mode = 0, 0
    for place in (*reversed(file.parents), file):
        with contextlib.suppress(OSError):  # its folder is closed: whose is that?
            found = place.stat()
            group_id, mode = found.st_gid, found.st_mode
    try:
        group, who = grp.getgrgid(group_id).gr_name, getpass.getuser()
    except (OSError, KeyError):  # a number has no name
        return f"you may not read {file}"
    if not (group_id and mode & (stat.S_IXGRP if stat.S_ISDIR(mode) else stat.S_IRGRP)):
        return f"you may not read {file}: give {who} the right to read it, or a copy"
    join = f"`sudo usermod -aG {group} {who}` and log in again"
    return f"you are not in group {group}, so you may not read {file}: {join}"


def listeners(port: int) -> set[int]:
    """Return the users that listen on a port of this host; none where no table tells."""
    found = set()
    for table in _TABLES:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for _, local, _, state, _, _, _, uid, *_ in map(str.split, rows):
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                found.add(int(uid))
    return found


def user_name(uid: int) -> str:
    """Return how a user of this host is named in a sentence."""
    import pwd  # noqa: PLC0415 - not on every system that a bot runs on

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"

"""The token with which an operator signs in at the status page, in a file of the data folder.

The daemon makes it at its first start. Whoever may read the file may command, so its rights are
those of the operators' password of the broker: the folder's owner, or its group if it is setgid.
"""

import hmac
import secrets
import stat
from pathlib import Path
from typing import Final

from daemon.core.atomic_files import Files

_ALONE: Final = 0o600
_SHARED: Final = 0o640
_LARGEST: Final = 4096  # bytes
_LONGEST: Final = 200  # characters; a longer text is no token


class PageToken:
    """The token in `<data_dir>/web/token`.

    Args:
        data_dir: The data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "web" / "token"
        self._value = ""

    def read(self) -> str:
        """Return the token in the file; empty if there is none. It blocks.

        Raises:
            OSError: If the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                return file.read(_LARGEST).decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def own(self) -> bool:
        """Read the token, or make one if there is none; return whether it is another than before.

        Raises:
            OSError: If it cannot be read or written.
        """
        found = self.read() or self.replace()
        self._restrict()  # its folder may have become a group's since it was made
        was, self._value = self._value, found
        return bool(was) and was != found

    def replace(self) -> str:
        """Write a new token and return it; the old one is good for nothing any more.

        Raises:
            OSError: If it cannot be written.
        """
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        value = secrets.token_urlsafe(32)
        Files().replace(self.path, f"{value}\n".encode(), _ALONE)
        self._restrict()
        return value

    def _restrict(self) -> None:
        shared = self.path.parent.stat().st_mode & stat.S_ISGID
        mode = _SHARED if shared else _ALONE
        if stat.S_IMODE(self.path.stat().st_mode) != mode:
            self.path.chmod(mode)

    def fits(self, offered: str) -> bool:
        """Return whether a visitor knows the token that was read last."""
        known, given = self._value.encode(), offered[:_LONGEST].encode(errors="replace")
        return bool(known) and hmac.compare_digest(known, given)

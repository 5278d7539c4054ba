"""Read the bytes that are appended to a file, through rotation and truncation.

The file may not exist yet. A file system without notifications is read as well as any other.
"""

import os
import stat
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger()

# A piece takes some milliseconds, after which the event loop has its turn.
_CHUNK: Final = 1 << 15
# So many bytes before our position must be unchanged, or the file was replaced.
_MARK: Final = 64


class Piece(NamedTuple):
    """Bytes of a file; `begins` and `ends` tell that they are its first and its last ones."""

    data: bytes
    begins: bool
    ends: bool


class FileTail:
    """A file that is read while it grows.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._begin()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def next(self) -> Piece | None:
        """Return what was appended since the last call, in pieces; None if nothing was.

        Raises:
            OSError: If the file exists and cannot be read, or is no file.
        """
        if self._file is None and not self._open():
            return None
        data, begins = self._appended()
        if data:
            return Piece(data, begins, ends=False)
        if self._is_current():
            return None
        self.close()  # it was rotated and is read to its end
        return Piece(b"", begins=False, ends=True)

    def _begin(self) -> None:
        self._at, self._mark = 0, b""

    def _open(self) -> bool:
        if not _is_there(self.path):
            return False
        try:
            self._file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        self._begin()
        return True

    def _appended(self) -> tuple[bytes, bool]:
        if (file := self._file) is None:
            return b"", False
        if os.fstat(file.fileno()).st_size < self._at or self._marked(file) != self._mark:
            log.info("trades.file_began_again", file=str(self.path))
            self._begin()
        begins = self._at == 0
        data = os.pread(file.fileno(), _CHUNK, self._at)
        self._at += len(data)
        self._mark = self._marked(file)
        return data, begins

    def _marked(self, file: FileIO) -> bytes:
        first = max(0, self._at - _MARK)
        return os.pread(file.fileno(), self._at - first, first)

    def _is_current(self) -> bool:
        """Return whether the path still names the open file."""
        if (file := self._file) is None:
            return False
        try:
            return os.path.samestat(self.path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return True  # renamed, and no new file yet: it may still grow


def _is_there(path: Path) -> bool:
    """Return whether there is a file.

    Raises:
        OSError: If there is something else, which could not be read or would never end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is no file: name the file, not its folder or a pipe")
    return True

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
CHUNK: Final = 1 << 15
# So many bytes before our position must be unchanged, or the file was replaced.
_MARK: Final = 64


class FileVersion(NamedTuple):
    """What a file is and how far it was written."""

    inode: int
    size: int
    written_ns: int


NOTHING: Final = FileVersion(0, 0, 0)


class Piece(NamedTuple):
    """Bytes of a file; `begins` and `ends` tell that they are its first and its last ones."""

    data: bytes
    begins: bool
    ends: bool


class FileTail:
    """A file that is read while it grows.

    Args:
        path: The file.

    Attributes:
        version: The file at the last look, perhaps before it was replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._begin()

    @property
    def is_open(self) -> bool:
        """Whether a file is open, perhaps one that the path names no more."""
        return self._file is not None

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
        self._at, self._mark, self.version = 0, b"", NOTHING

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
        now, was = version(os.fstat(file.fileno())), self.version
        # What is written and does not grow was written over.
        is_over = self._at and now.size == was.size and now.written_ns != was.written_ns
        if now.size < self._at or is_over or self._marked(file) != self._mark:
            log.info("trades.file_began_again", file=str(self.path))
            self._begin()
        begins = self._at == 0
        self.version = now
        data = os.pread(file.fileno(), CHUNK, self._at)
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


def version(status: os.stat_result) -> FileVersion:
    """Return the version of a file that its status shows."""
    return FileVersion(status.st_ino, status.st_size, status.st_mtime_ns)


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
        raise OSError(f"{path} is no file: name a file, of one a day a link to the newest")
    return True

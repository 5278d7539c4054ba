"""Read a file that grows, and before it the files that its rotations set aside.

Bots write on into a file that was renamed, and a copy is made before a file is truncated. So
whatever changes but by growth is read anew, from the oldest file on: trades have names, and each
counts once.
"""

import bz2
import contextlib
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from daemon.trade_files.file_tail import CHUNK, FileTail, FileVersion, Piece, version

_MOST_FILES: Final = 60
# What rotations append: `.1`, `-20261130`, `.2026-11-30_10`; and they pack.
_PACKED: Final = r"(\.(gz|bz2|xz))?"
_ASIDE: Final = r"[-._]\d[-\d_T:.]*" + _PACKED
_DATED: Final = re.compile(r"\d{4}[-_.]?\d\d[-_.]?\d\d")


class FileHistory:
    """A file and those that were set aside, as one series of pieces.

    Args:
        path: The file.
        begin: Is called before all of it is read, for the first time or anew.
        refuse: Takes the name of a file that was set aside and cannot be read, and why.
    """

    def __init__(
        self, path: Path, *, begin: Callable[[], None], refuse: Callable[[str, str], None]
    ) -> None:
        self._path, self._tail = path, FileTail(path)
        self._begin_all, self._refuse = begin, refuse
        self._known, self._is_begun = set[FileVersion](), False
        self._left: list[Path] = []
        self._pieces: Iterator[Piece] = iter(())
        self._is_expected = False  # that the file is read from its first byte

    def close(self) -> None:
        """Close the file."""
        self._pieces = iter(())
        self._tail.close()

    def next(self) -> Piece | None:
        """Return what was not read yet, in pieces; None if all is read.

        Raises:
            OSError: If the file exists and cannot be read.
        """
        if not self._is_begun:
            self._is_begun = True
            self._begin()
        if piece := self._earlier():
            return piece
        piece = self._tail.next()
        aside = self._set_aside().keys() if piece is None or piece.ends else set[FileVersion]()
        if piece is None:
            is_over = not aside <= self._known
        else:
            is_over = piece.begins and not self._is_expected
            # It was renamed, and has been read; else it was replaced.
            self._is_expected = piece.ends and self._tail.version in aside
            self._known |= {self._tail.version} & aside
        if is_over:
            self._begin()
            return self.next()
        return piece

    def _begin(self) -> None:
        self._tail.close()
        aside = self._set_aside()
        self._known |= aside.keys()
        self._left, self._is_expected = list(aside.values()), True
        self._begin_all()

    def _earlier(self) -> Piece | None:
        """Return the next piece of the files that were set aside, None if they are read."""
        while True:
            if piece := next(self._pieces, None):
                return piece
            if not self._left:
                return None
            self._pieces = self._read(self._left.pop(0))

    def _read(self, path: Path) -> Iterator[Piece]:
        begins = True
        try:
            with _opened(path) as file:
                while data := file.read(CHUNK):
                    yield Piece(data, begins, ends=False)
                    begins = False
        except FileNotFoundError:
            pass  # it was packed or removed since
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as e:
            self._refuse(path.name, str(e))
        yield Piece(b"", begins=False, ends=True)

    def _set_aside(self) -> dict[FileVersion, Path]:
        """Return the newest files that were set aside, the oldest first."""
        found: dict[FileVersion, Path] = {}
        with contextlib.suppress(OSError):
            current = {_inode(self._path), self._tail.version.inode if self._tail.is_open else 0}
            for folder, pattern in _names(self._path):
                for each in folder.iterdir():
                    if pattern.fullmatch(each.name) and each.is_file():
                        found[version(each.stat())] = each
            found = {key: each for key, each in found.items() if key.inode not in current}
        newest = sorted(found, key=lambda each: each.written_ns)[-_MOST_FILES:]
        return {each: found[each] for each in newest}


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


def _names(path: Path) -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Return where the files that were set aside may be, and how they are named."""
    yield path.parent, re.compile(re.escape(path.name) + _ASIDE)
    if path.is_symlink() and _DATED.search(name := path.resolve().name):  # the newest of a series
        series = re.sub(r"\d+", r"\\d+", re.escape(name)) + _PACKED
        yield path.resolve().parent, re.compile(series)


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".bz2":
        return bz2.open(path)
    return lzma.open(path) if path.suffix == ".xz" else path.open("rb")

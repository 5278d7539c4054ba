"""Open, check and migrate the SQLite file; turn SQLite's errors into those of this project.

A damaged file must not stop the daemon from starting, and a full disk must be reported as a
full disk, not as a traceback. `daemon.store.store` deals with rows only.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from daemon.core.errors import StoreCorrupt
from daemon.store.migrations import MIGRATIONS, SCHEMA, SCHEMA_OF_IMPORTS
from hyperdrift.errors import BadInput, HyperdriftError

_BUSY_TIMEOUT_S: Final = 10.0
# SQLite cuts the write-ahead log to this size after it grew.
_LOG_BYTES: Final = 16 * 2**20
_INCREMENTAL: Final = 2
# A disk with less room is full.
_LEAST_BYTES: Final = 1 << 20
# The whole of a larger file is checked after the start: a second for each GiB, or much more.
_CHECKED_AT_ONCE_BYTES: Final = 512 * 2**20
# As plain numbers, so many rows take some MiB.
_FETCHED_ROWS: Final = 20_000


class StoreUnavailable(HyperdriftError):
    """The database cannot be read or written just now: disk full, no rights, locked."""

    transient: ClassVar[bool] = True


class Database:
    """One SQLite file in WAL mode, or `":memory:"`; usable from any thread, one at a time.

    Attributes:
        written: Rows that transactions have changed and committed since it was opened.
        is_checked: Whether every page was checked as it was opened; a large file is not.
        has_imports: Whether the file has the tables of imports; an old one has them after the
            next start.
        read_only: Whether it only reads.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open, check and if needed create the file.

        Raises:
            StoreCorrupt: If the file is damaged or no database.
            BadInput: If a newer hyperdrift wrote it, or `read_only` and it is not there.
            PermissionError: If `read_only` and this user may not read it.
            StoreUnavailable: If it cannot be opened.
        """
        self._path, self._lock = Path(path), threading.RLock()
        self.written, self.is_checked = 0, True
        self.has_imports, self.read_only = True, read_only
        if read_only and not self._path.is_file():
            msg = f"there is no store at {path}: start the daemon or import bars first"
            raise BadInput(msg)
        # SQLite does not say why it may not. The file is not opened to find out: closing it would
        # drop the locks of this process's other connections, and another process their log.
        if read_only and not os.access(self._path, os.R_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        try:
            self._open(read_only=read_only)
        except StoreUnavailable:
            if not read_only or self._has_log():
                raise
            # A full or read-only disk has no room for the index of a log; but there is no log.
            self._open(read_only=True, rest="&immutable=1")

    def _open(self, *, read_only: bool, rest: str = "") -> None:
        place = self._path.absolute().as_uri()
        target = f"{place}?mode=ro{rest}" if read_only else str(self._path)
        with self._translated():
            if not read_only and target != ":memory:":
                _make_private(self._path)
            self._db = sqlite3.connect(
                target,
                uri=read_only,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            self._db.close()
            raise

    def _has_log(self) -> bool:
        log = self._path.with_name(f"{self._path.name}-wal")
        return log.exists() and log.stat().st_size > 0

    def close(self) -> None:
        """Close the file; the last connection writes the write-ahead log into it."""
        with self._lock:
            self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction: everything that is written inside, or nothing.

        Raises:
            StoreUnavailable: If the disk is full or the file not writable.
        """
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            before = self._db.total_changes
            try:
                yield self._db
                self._db.execute("COMMIT")
                self.written += self._db.total_changes - before
            except BaseException:
                # A failed COMMIT (disk full) may have rolled back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have all reads inside see one state of the file; none may write.

        Raises:
            StoreUnavailable: If it cannot be read.
        """
        with self._lock, self._translated():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:  # an error of the disk may have ended it
                    self._db.execute("COMMIT")

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of a query."""
        with self._lock, self._translated():
            return self._db.execute(query, tuple(values)).fetchall()

    def read_columns(self, query: str, values: Sequence[Any], columns: int) -> NDArray[np.float64]:
        """Return all rows of a query of numbers as an array of shape (columns, rows)."""
        pieces = []
        with self._lock, self._translated():
            cursor = self._db.execute(query, tuple(values))
            is_whole = False
            while not is_whole:
                rows = cursor.fetchmany(_FETCHED_ROWS)
                is_whole = len(rows) < _FETCHED_ROWS
                flat = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * columns)
                pieces.append(flat.reshape(-1, columns).T)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def backup(self, path: Path) -> None:
        """Copy the whole database to a file, as of this moment.

        Raises:
            StoreUnavailable: If the copy cannot be written.
        """
        aside = path.with_name(path.name + ".part")
        with self._lock, self._translated():
            aside.unlink(missing_ok=True)
            _make_private(aside)
            target = sqlite3.connect(aside)
            try:
                self._db.backup(target)
            finally:
                target.close()
            aside.replace(path)

    def check(self) -> None:
        """Check every page: a second for each GiB, or much more from a slow disk.

        Raises:
            StoreCorrupt: If the file is damaged; the next start checks it before its first use.
            StoreUnavailable: If it cannot be read, or `interrupt` was called.
        """
        found = self.read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            _note_doubt(self._path)
            raise StoreCorrupt(f"{self._path} is damaged: {found}")
        _doubt(self._path).unlink(missing_ok=True)

    def interrupt(self) -> None:
        """End what another thread asks the file for."""
        self._db.interrupt()

    def spare_pages(self) -> int:
        """Return the number of empty pages in the file."""
        found: int = self.read("PRAGMA freelist_count")[0][0]
        return found

    def give_back(self, pages: int) -> None:
        """Shorten the file by this number of its empty pages.

        Raises:
            StoreUnavailable: If the file is not writable.
        """
        with self._lock, self._translated():
            # Not `execute`, which would stop after the first page.
            self._db.executescript(f"PRAGMA incremental_vacuum({pages})")

    def _prepare(self, *, read_only: bool) -> None:
        with self._translated():
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA:
                msg = f"{self._path} was written by a newer hyperdrift: install that one again"
                raise BadInput(msg)
            if read_only:
                self.has_imports = version >= SCHEMA_OF_IMPORTS
                return
            if version == 0:
                self._db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self.is_checked = not _is_checked_later(self._path)
            if self.is_checked:
                self.check()
            if 0 < version < SCHEMA:
                # A copy for the old version, if somebody installs it again.
                self.backup(self._path.with_name(f"{self._path.name}.v{version}"))
            for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
                self._db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
            self._let_it_shrink()

    def _let_it_shrink(self) -> None:
        """Rewrite a file of an early version, which cannot shrink; once, in seconds."""
        if self._db.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL:
            return
        # This needs as much room again; if there is none, the next start tries.
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            self._db.execute("VACUUM")

    def _remedy(self) -> str:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < _LEAST_BYTES:
                return "make room on its disk, which is full"
        return "check disk space and rights"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise our errors instead of SQLite's."""
        try:
            yield
        except sqlite3.OperationalError as e:
            msg = f"the store {self._path} cannot be used ({e}): {self._remedy()}"
            raise StoreUnavailable(msg) from e
        except sqlite3.DatabaseError as e:
            if type(e) is not sqlite3.DatabaseError:  # its subclasses are bugs of ours
                raise
            msg = f"{self._path} is damaged or no database ({e})"
            _note_doubt(self._path)
            raise StoreCorrupt(msg) from e
        except OSError as e:
            msg = f"cannot write beside {self._path} ({e}): check disk space and rights"
            raise StoreUnavailable(msg) from e


def _make_private(path: Path) -> None:
    """Make the file if need be, readable by its owner and group only.

    The folder itself is open to readers of models.

    Raises:
        StoreUnavailable: If it cannot be written; SQLite would open it read-only without a word.
    """
    # Open it only to make it: closing it would drop the locks of another connection.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    for part in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        if not part.exists():
            continue
        if not os.access(part, os.W_OK):
            why = "it is not this user's to write, or on a file system that is mounted read-only"
            msg = f"the store {part} cannot be used ({why}): check disk space and rights"
            raise StoreUnavailable(msg)
        with contextlib.suppress(FileNotFoundError, PermissionError):  # gone, or another user's
            if (mode := stat.S_IMODE(part.stat().st_mode)) & 0o007:
                part.chmod(mode & ~0o007)


def _is_checked_later(path: Path) -> bool:
    """Return whether the file is too large to be checked at every start, and not in doubt."""
    if not path.is_file() or path.stat().st_size <= _CHECKED_AT_ONCE_BYTES:
        return False
    return not _doubt(path).exists()


def _note_doubt(path: Path) -> None:
    """Have the whole file checked at the next start, because it may be damaged."""
    if path.is_file():
        with contextlib.suppress(OSError):
            _doubt(path).touch()


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}.doubted")


def set_aside(path: Path) -> Path:
    """Rename a damaged file, with its log, to `<name>.corrupt-<n>`; return the new name.

    Raises:
        StoreUnavailable: If the folder does not allow it.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    try:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        _doubt(path).unlink(missing_ok=True)
    except OSError as e:
        msg = f"cannot move the damaged {path} aside ({e}): check the folder's rights"
        raise StoreUnavailable(msg) from e
    return aside

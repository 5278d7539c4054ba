"""Check that each hole in the journal is due to a page that `benchmarks.chaos` damaged.

A copy of the database is made before it is damaged. A bar that is missing from the journal at the
end must be in such a copy, and must be unreadable in the damaged file, which the daemon sets
aside. Otherwise the daemon skipped or lost it.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

_SCORED = "SELECT seq, json_extract(body, '$.t') FROM journal WHERE kind = 'BarScored'"
_PARTS = ("", "-wal")


def holes(scored: Sequence[int], step: int) -> list[int]:
    """Return the bars between the first and the last that were not scored."""
    return [t for a, b in pairwise(sorted(scored)) for t in range(a + step, b, step)]


def unexplained(
    lost: Sequence[int],
    undamaged: Sequence[tuple[float, Path]],
    asides: Sequence[tuple[float, Path]],
) -> list[str]:
    """Return a sentence for each lost bar that no damaged page explains.

    Args:
        lost: Bars that are not in the journal.
        undamaged: When the database was damaged, and the copy from before; oldest first.
        asides: When a damaged file was set aside, and where it is.
    """
    had = [(at, _scored(path)) for at, path in undamaged]
    wrong: list[str] = []
    wanted: dict[Path, dict[int, int]] = {}
    for t in lost:
        copies = [(at, rows[t]) for at, rows in had if t in rows]
        aside = next((path for at, path in asides if copies and at >= copies[-1][0]), None)
        if not copies:
            wrong.append(f"bar {t} was passed over: it was in no database that was damaged")
        elif aside is None:
            wrong.append(f"bar {t} was scored and is gone, and no database was set aside since")
        else:
            wanted.setdefault(aside, {})[copies[-1][1]] = t
    for aside, rows in wanted.items():
        wrong += [
            f"bar {rows[seq]} can be read from {aside.name} and was not saved"
            for seq in _given(aside, rows)
        ]
    return wrong


def copy_store(store: Path, into: Path) -> None:
    """Copy a database that nobody has open."""
    into.mkdir()
    for part in _PARTS:
        source = store.with_name(store.name + part)
        if source.exists():
            shutil.copy(source, into / source.name)


def is_whole(store: Path) -> bool:
    """Check a database that nobody has open, without touching it."""
    with _copy(store) as copy, contextlib.suppress(sqlite3.DatabaseError):
        found = copy.execute("PRAGMA integrity_check").fetchall()
        return found == [("ok",)]
    return False


def _scored(store: Path) -> dict[int, int]:
    """Return the journal's number of each scored bar."""
    with _copy(store) as copy, contextlib.suppress(sqlite3.DatabaseError):
        return {int(t): int(seq) for seq, t in copy.execute(_SCORED)}
    return {}


def _given(store: Path, wanted: Iterable[int]) -> list[int]:
    """Return which rows of the journal a damaged file can still give."""
    found = []
    with _copy(store) as copy:
        for seq in wanted:
            with contextlib.suppress(sqlite3.DatabaseError, ValueError, TypeError):
                row = copy.execute("SELECT body FROM journal WHERE seq = ?", (seq,)).fetchone()
                if row is not None and "t" in json.loads(row[0]):
                    found.append(seq)
    return found


@contextlib.contextmanager
def _copy(store: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy: to open a database with a log beside it writes to both."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy_store(store, copy)
        with contextlib.closing(sqlite3.connect(copy / store.name)) as db:
            yield db

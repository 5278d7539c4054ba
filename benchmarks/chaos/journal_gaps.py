"""Check that a page damaged by `benchmarks.chaos` explains each hole in the journal.

The benchmark copies the database before it damages it. The daemon renames the damaged file. A bar
may be missing from the journal at the end only under two conditions: such a copy has it, and the
damaged file cannot give it. Otherwise the daemon skipped or lost it.
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
        lost: Open times of bars that are not in the journal, ms UTC.
        undamaged: When the database was damaged, and its copy from before; oldest first.
        asides: When a damaged file was renamed, and its path.
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
    """Copy a database that no process has open."""
    into.mkdir()
    for part in _PARTS:
        source = store.with_name(store.name + part)
        if source.exists():
            shutil.copy(source, into / source.name)


def is_whole(store: Path) -> bool:
    """Return whether a database that no process has open is intact; do not change it."""
    with _copy(store) as copy, contextlib.suppress(sqlite3.DatabaseError):
        found = copy.execute("PRAGMA integrity_check").fetchall()
        return found == [("ok",)]
    return False


def _scored(store: Path) -> dict[int, int]:
    """Return the journal's row number of each scored bar, by open time in ms UTC."""
    with _copy(store) as copy, contextlib.suppress(sqlite3.DatabaseError):
        return {int(t): int(seq) for seq, t in copy.execute(_SCORED)}
    return {}


def _given(store: Path, wanted: Iterable[int]) -> list[int]:
    """Return the wanted rows of the journal that a damaged file still contains."""
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
    """Open a copy, because opening a database with a write-ahead log writes to both files."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy_store(store, copy)
        with contextlib.closing(sqlite3.connect(copy / store.name)) as db:
            yield db

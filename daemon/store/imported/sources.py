"""Keep which imports there are: each has a name, a moment and a number that grows.

The number orders the imports of a slot: of two the newer one has the larger number.
"""

import re
import sqlite3
from typing import Final, NamedTuple, Self

from daemon.store.database import Database
from hyperdrift.slot_name import SlotName

BARS: Final = "bars"
FUNDING: Final = "funding"
_SCOPE: Final = "kind = ? AND coin = ? AND interval = ?"


class Scope(NamedTuple):
    """Whose imports: bars of a coin and an interval, or funding of a coin (interval is "")."""

    kind: str
    coin: str
    interval: str

    @classmethod
    def of(cls, slot: SlotName, kind: str) -> Self:
        """Return the scope that imports of a slot have."""
        return cls(kind, slot.coin, slot.interval if kind == BARS else "")

    def __str__(self) -> str:
        return str(SlotName(*self[1:])) if self.kind == BARS else f"the funding of {self.coin}"


class ImportSource(NamedTuple):
    """One import.

    Attributes:
        id: Its number; newer imports have larger ones.
        name: Its name, unique for its kind, coin and interval.
        at_ms: When it was imported, ms UTC.
        digest: A digest of what it brought.
        rows: How many rows it brought.
        is_checked: Whether what the venue still serves was held against it.
    """

    id: int
    name: str
    at_ms: int
    digest: str
    rows: int
    is_checked: bool


class Tally(NamedTuple):
    """How many rows of an import are stored and in force, and its first and last t, ms UTC."""

    rows: int = 0
    in_force: int = 0
    first_t: int | None = None
    last_t: int | None = None


class Claim(NamedTuple):
    """The place of an import among the others.

    Attributes:
        id: Its number.
        name: Its name, which has a number added where another import has that name.
        before: The import of the same file, whose rows this one replaces; None if there is none.
        is_newest: Whether no other import came after that one.
    """

    id: int
    name: str
    before: ImportSource | None = None
    is_newest: bool = False


def known(db: Database, scope: Scope) -> list[ImportSource]:
    """Return the imports of a scope, oldest first."""
    if not db.has_imports:
        return []
    rows = db.read(
        f"SELECT id, name, at_ms, digest, rows, checked FROM sources WHERE {_SCOPE} ORDER BY id",  # noqa: S608
        scope,
    )
    return [ImportSource._make((*row[:5], bool(row[5]))) for row in rows]


def claim(db: Database, scope: Scope, name: str, digest: str) -> Claim:
    """Return the number and the name for an import.

    The same rows under the same name are the same import. Other rows under a name that is
    taken are another import: `bars.csv-2` beside `bars.csv`, so that both can be taken back.
    """
    others = known(db, scope)
    own = re.compile(re.escape(name) + r"(-\d+)?")
    same = next((s for s in others if s.digest == digest and own.fullmatch(s.name)), None)
    number = 1 + int(db.read("SELECT coalesce(max(id), 0) FROM sources")[0][0])
    if same is not None:
        return Claim(number, same.name, same, is_newest=same == others[-1])
    taken, free, suffix = {s.name for s in others}, name, 1
    while free in taken:
        suffix += 1
        free = f"{name}-{suffix}"
    return Claim(number, free)


def write(connection: sqlite3.Connection, scope: Scope, source: ImportSource) -> None:
    """Write an import down."""
    connection.execute(
        "INSERT INTO sources (id, kind, coin, interval, name, at_ms, digest, rows, checked)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (source.id, *scope, *source[1:5], int(source.is_checked)),
    )


def touch(connection: sqlite3.Connection, number: int, at_ms: int) -> None:
    """Note that an import was repeated at `at_ms`, ms UTC."""
    connection.execute("UPDATE sources SET at_ms = ? WHERE id = ?", (at_ms, number))


def remove(connection: sqlite3.Connection, number: int) -> None:
    """Remove the entry of an import, whose rows are gone."""
    connection.execute("DELETE FROM sources WHERE id = ?", (number,))


def mark_checked(db: Database, scope: Scope, numbers: list[int]) -> None:
    """Note that what the venue still serves was held against these imports."""
    with db.writing() as connection:
        connection.executemany(
            f"UPDATE sources SET checked = 1 WHERE {_SCOPE} AND id = ?",  # noqa: S608
            [(*scope, number) for number in numbers],
        )

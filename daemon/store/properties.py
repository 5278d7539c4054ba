"""Keep what is true of the whole store, by name: first of all, which venue its bars are from.

Bars of two venues in one store would be the history of a market that never was, and a model
would learn from it. So another venue is refused until a person adopts it.
"""

import re
from pathlib import Path
from typing import Final

from daemon.store.store import Store
from hyperdrift.errors import ConfigError

_VENUE: Final = "venue"
_LOCAL: Final = re.compile(r"^(127\.0\.0\.1|\[::1\]):\d+")


def read(store: Store, name: str) -> str | None:
    """Return a property; None if it was never written, or the schema is too old for any."""
    db = store.database
    if not db.read("SELECT 1 FROM sqlite_master WHERE name = 'properties'"):
        return None
    rows = db.read("SELECT value FROM properties WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def write(store: Store, name: str, value: str) -> None:
    """Write a property in place of the one of that name.

    Raises:
        StoreUnavailable: If the disk is full or the file not writable.
    """
    with store.database.writing() as db:
        db.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (name, value))


def venue_of(store: Store) -> str | None:
    """Return the venue that the store has followed; None before its first use with one."""
    return read(store, _VENUE)


def record_venue(store: Store, venue: str) -> None:
    """Write down which venue the store follows.

    Raises:
        StoreUnavailable: If the disk is full or the file not writable.
    """
    if venue_of(store) != venue:
        write(store, _VENUE, venue)


def require_venue(store: Store, venue: str, data_dir: Path, *, any_port: bool = False) -> None:
    """Refuse to mix the bars of two venues; a store that has followed none takes any.

    Args:
        store: The store.
        venue: The venue of the configuration (`HyperliquidSection.venue`).
        data_dir: The folder of the store, for the text.
        any_port: Let another port of this machine pass, as long as nothing has answered there.

    Raises:
        ConfigError: If the store has followed another venue.
    """
    if any_port and _LOCAL.sub(r"\1", venue_of(store) or "") == _LOCAL.sub(r"\1", venue):
        return
    if problem := other_venue(store, venue, data_dir):
        raise ConfigError(problem)


def other_venue(store: Store, venue: str, data_dir: Path) -> str:
    """Return why the store cannot follow the venue, and what to do; "" if it can."""
    held = venue_of(store)
    if held in {None, venue}:
        return ""
    return (
        f"the store in {data_dir} holds bars of {held}, and [hyperliquid] names {venue}: set"
        " another daemon.data_dir; only if both are the same market, as behind a proxy, run"
        " `hyperdrift bars venue --adopt`"
    )

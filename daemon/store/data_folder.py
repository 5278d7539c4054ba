"""Where the store lies in a data folder, and how it is opened there."""

from pathlib import Path
from typing import Final

from daemon.store.store import Store

STORE_NAME: Final = "hyperdrift.sqlite"


def open_store(data_dir: Path, *, read_only: bool = False) -> Store:
    """Open the store of a data folder; make the folder if it is to be written.

    Raises:
        BadInput: If `read_only` and there is no store yet.
        StoreCorrupt: If it cannot be read.
    """
    if not read_only:
        data_dir.mkdir(parents=True, exist_ok=True)
    return Store(data_dir / STORE_NAME, read_only=read_only)

"""Write a table to a file for other programs: whole, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.core.extras import require
from hyperdrift.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, Parquet, Feather or a JSON array, by the suffix of `path`.

    Args:
        table: Shape (n_rows, n_columns); its index is not written.
        path: Where to; a file there is replaced.

    Raises:
        ConfigError: If the suffix needs a library that is not installed.
        BadInput: If the suffix names no format, or the file cannot be written.
    """
    aside = path.parent / f".{path.name}.part"
    writers: dict[str, Callable[[], object]] = {
        ".csv": lambda: table.to_csv(aside, index=False),
        ".parquet": lambda: table.to_parquet(aside, index=False),
        ".feather": lambda: table.to_feather(aside),
        ".json": lambda: aside.write_text(json.dumps(table.to_dict("records")), "utf-8"),
    }
    if path.suffix not in writers:
        raise BadInput(f"{path} is none of {', '.join(writers)}: name the file so")
    if path.suffix in {".parquet", ".feather"}:
        require("pyarrow", f"writing {path.name}")
    try:
        writers[path.suffix]()
        aside.replace(path)
    except OSError as e:
        aside.unlink(missing_ok=True)
        why = e.strerror or e  # pandas names a folder that is not there in words of its own
        raise BadInput(f"{path} cannot be written ({why}): name another place") from e

"""Find the header of a CSV file in the files that a rotation set aside."""

import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from daemon.trade_files.csv_rows import CsvRows, Header

_MOST_FILES: Final = 20
_FIRST_BYTES: Final = 1 << 16


def set_aside(path: Path) -> list[Path]:
    """Return the files that a rotation of `path` left, the newest first."""
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for each in path.parent.glob(f"{_escaped(path.name)}[.-]*"):
            with contextlib.suppress(OSError):
                if each.is_file():
                    found.append((each.stat().st_mtime, each))
    return [each for _, each in sorted(found, reverse=True)][:_MOST_FILES]


def header_of_earlier(path: Path, is_known: Callable[[Sequence[str]], bool]) -> Header | None:
    """Return the header of the newest file that was set aside and has one."""
    return next(_headers(path, is_known), None)


def _headers(path: Path, is_known: Callable[[Sequence[str]], bool]) -> Iterator[Header]:
    for each in set_aside(path):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            with gzip.open(each) if each.suffix == ".gz" else each.open("rb") as file:
                text = file.read(_FIRST_BYTES).decode("utf-8-sig", errors="replace")
            rows = CsvRows(None, is_known=is_known, guess=lambda _: None)
            for _ in rows.feed(text.partition("\n")[0] + "\n"):
                pass
            if rows.header is not None and is_known(rows.header.names):
                yield rows.header


def _escaped(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)

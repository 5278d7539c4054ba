"""Write learnt cohorts as the CSV that `[features] cohort_file` reads."""

import csv
import io
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from daemon.cohorts.learning import Member
from daemon.core.atomic_files import Files
from hyperdrift.errors import BadInput

COLUMNS: Final = tuple(field.name for field in fields(Member))
"""The columns, address and cohort first; the others are the evidence and are not read again."""


def as_csv(members: tuple[Member, ...]) -> str:
    """Return the text of the file."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(m) | {"p": f"{m.p:.3g}", "q": f"{m.q:.3g}"} for m in members)
    return text.getvalue()


def write(path: Path, members: tuple[Member, ...]) -> None:
    """Write the file; it appears complete or not at all.

    Raises:
        BadInput: If it cannot be written.
    """
    files, aside = Files(), path.parent / f".{path.name}.new"
    try:
        files.write(aside, as_csv(members).encode())
        files.rename(aside, path)
    except OSError as e:
        raise BadInput(f"{path} cannot be written ({e.strerror}); name another with --out") from e

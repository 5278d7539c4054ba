"""`python -m docs.generate`: write every generated page and copy that is not current."""

import sys
from pathlib import Path

from docs.generate import formulas
from docs.generate.source import ROOT


def _write(found: dict[Path, bytes]) -> None:
    for path, content in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sys.stdout.write(f"{path.relative_to(ROOT)} written\n")


_write(formulas.stale())

from docs.generate import pages  # noqa: E402 - it imports the daemon, and that the copies

_write(pages.stale())

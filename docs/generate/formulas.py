"""The client's copies of the formulas: one source, in `retrain`, for two distributions."""

from pathlib import Path
from typing import Final

from docs.generate.source import ROOT

COPIES: Final = ROOT / "client" / "hyperdrift" / "formulas"
_COPIED: Final = ("bar_limits.py", "features.py", "windows.py")
_NOTE: Final = "# Written by `make reference` from retrain/{}. Change that module, not this copy.\n"


def stale() -> dict[Path, bytes]:
    """Return the content that each copy should have, of those that have another.

    A copy imports from its own package instead of `retrain`.
    """
    wanted = {COPIES / name: _copy(name) for name in _COPIED}
    return {
        path: content
        for path, content in wanted.items()
        if not path.exists() or path.read_bytes() != content
    }


def _copy(name: str) -> bytes:
    text = (ROOT / "retrain" / name).read_text("utf-8")
    text = text.replace("\nfrom retrain", "\nfrom hyperdrift.formulas")
    return (_NOTE.format(name) + text).encode()

"""Remember an unfinished backtest, so that the same command goes on with the same bars.

Beside a running daemon new bars arrive all the time. With them a backtest would be another one,
and what it had done so far would be of no use.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.backtest.candidate_cache import UNFINISHED
from daemon.core.atomic_files import Files
from hyperdrift.slot_name import DAY_MS

_OLDEST_MS: Final = 7 * DAY_MS
"""Who asks again after a week of newer bars wants those."""


class Progressed(msgspec.Struct, frozen=True):
    """How far it came: its last bar opened at `until_ms`, and the names of the cells it kept."""

    until_ms: int
    kept: frozenset[str] = frozenset()


class ResumePoint:
    """The file of one unfinished backtest.

    Args:
        root: The folder of the backtests.
        asked: All that was asked for, as JSON values.
        newest_ms: Open time of the newest bar now, ms UTC.

    Attributes:
        goes_on: Whether an interrupted backtest is gone on with.
        kept: The names of the cells that are done and kept.
    """

    def __init__(self, root: Path, asked: Sequence[Any], newest_ms: int) -> None:
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode())
        self._path = root / f"{UNFINISHED}{digest.hexdigest()[:16]}.json"
        before = self._read()
        self.goes_on = before is not None and newest_ms - before.until_ms <= _OLDEST_MS
        if before is None or not self.goes_on:
            before = Progressed(newest_ms)
        self.until_ms, self.kept = min(before.until_ms, newest_ms), set(before.kept)

    def note(self, cell: str, *, kept: bool) -> None:
        """Write down that a cell is done, or that it has to be run again."""
        (self.kept.add if kept else self.kept.discard)(cell)
        self.write()

    def write(self) -> None:
        """Write down how far it came."""
        beside, files = self._path.with_suffix(".new"), Files()
        came = Progressed(self.until_ms, frozenset(self.kept))
        files.write(beside, msgspec.json.encode(came))
        files.rename(beside, self._path)

    def forget(self) -> None:
        """Remove the file: the backtest is finished."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> Progressed | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Progressed)
        except (OSError, msgspec.MsgspecError):
            return None

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
    """How far it came: its last bar opened at `until_ms`, and so many cells are done."""

    until_ms: int
    done: int = 0


class ResumePoint:
    """The file of one unfinished backtest.

    Args:
        root: The folder of the backtests.
        asked: All that was asked for, as JSON values.
        newest_ms: Open time of the newest bar now, ms UTC.
    """

    def __init__(self, root: Path, asked: Sequence[Any], newest_ms: int) -> None:
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode())
        self._path = root / f"{UNFINISHED}{digest.hexdigest()[:16]}.json"
        try:
            self.before = msgspec.json.decode(self._path.read_bytes(), type=Progressed)
        except (OSError, msgspec.MsgspecError):
            self.before = Progressed(newest_ms)
        if newest_ms - self.before.until_ms > _OLDEST_MS:
            self.before = Progressed(newest_ms)
        self.until_ms = min(self.before.until_ms, newest_ms)

    def note(self, done: int) -> None:
        """Write down that so many cells are done."""
        beside, files = self._path.with_suffix(".new"), Files()
        files.write(beside, msgspec.json.encode(Progressed(self.until_ms, done)))
        files.rename(beside, self._path)

    def forget(self) -> None:
        """Remove the file: the backtest is finished."""
        self._path.unlink(missing_ok=True)

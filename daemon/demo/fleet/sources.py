"""Find the recordings that a person names: files, and folders of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from daemon.demo.market import load
from daemon.demo.recording import Recording
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_SUFFIXES: Final = frozenset({".parquet", ".csv", ".feather"})


def read_recordings(paths: Sequence[Path]) -> tuple[Recording, ...]:
    """Read files of candles; a folder gives its files with names like `BTC-5m.parquet`.

    Raises:
        BadInput: If a file cannot be used, a folder has none, or two are of the same slot.
    """
    found: dict[SlotName, tuple[Path, Recording]] = {}
    for path in (file for named in paths for file in _files(named)):
        recording = load(path)
        slot = SlotName(recording.coin, recording.interval)
        if slot in found:
            msg = f"{path} and {found[slot][0]} both hold {slot}; name one of them"
            raise BadInput(msg)
        found[slot] = path, recording
    return tuple(recording for _, recording in found.values())


def start_of(recordings: Sequence[Recording], history: int) -> int:
    """Return when a replay begins, ms UTC: `history` bars of the shortest recorded one are past.

    Raises:
        BadInput: If that recording has not so many bars, or no bar is to be past.
    """
    finest = min(recordings, key=lambda r: r.interval_ms)
    if not 0 < history < len(finest):
        whose = f"{finest.coin}-{finest.interval}"
        msg = f"--history must be between 1 and {len(finest) - 1}, the bars of {whose}"
        raise BadInput(msg)
    return int(finest.t[history])


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if file.suffix in _SUFFIXES and _is_slot(file)]
    if not files:
        msg = f"{path} has no candles; it needs files with names like BTC-5m.parquet"
        raise BadInput(msg)
    return files


def _is_slot(file: Path) -> bool:
    try:
        SlotName.parse(file.name.partition(".")[0])
    except BadInput:
        return False
    return True

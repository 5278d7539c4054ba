"""Turn local times into UTC; hours that a change of the clock skips or repeats are marked."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from daemon.ingest.tables.reading import Bools, Ints
from hyperdrift.errors import BadInput

# Clocks change on a multiple of this, and offsets are multiples of it since 1972.
_PIECE_MS: Final = 15 * 60_000
_UTC_NAMES: Final = frozenset({"utc", "gmt", "z", "etc/utc"})
_ZONE_IN_NAME: Final = re.compile(
    r"\b(utc|gmt)\s*([+-]\s*\d+(?::?\d\d)?)|\b(local|est|edt|cst|cdt|pst|pdt|cet|cest|eet|msk|"
    r"jst|kst|ist|hkt|sgt|bst|et|ct|pt)\b",
    re.IGNORECASE,
)
_IANA: Final = re.compile(r"[A-Za-z]+(?:/[A-Za-z_]+)+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTimes(NamedTuple):
    """Times in ms UTC, and which local times were none or two, shape (rows,) each."""

    t: Ints
    missing: Bools
    twice: Bools
    notes: list[str]


def to_utc(path: str, name: str, local: Ints, known: Bools, zone: str) -> LocalTimes:
    """Turn local times into UTC.

    Args:
        path: The file, for messages.
        name: Name of the column; one that names another zone than UTC needs `zone`.
        local: Local times as ms since 1970, shape (rows,).
        known: Which of them are times, shape (rows,).
        zone: IANA name of the zone; "" is UTC.

    Raises:
        BadInput: If there is no such zone, or the column's name says one and `zone` does not.
    """
    none = np.zeros(len(local), dtype=np.bool_)
    if not zone:
        if said := zone_in(name):
            raise BadInput(
                f"{path}: {name} names a time zone ({said}): say which with --tz, "
                "such as --tz Europe/Berlin"
            )
        return LocalTimes(local, none, none, [])
    if zone.casefold() in _UTC_NAMES:
        return LocalTimes(local, none, none, ["times in UTC"])
    try:
        info = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise BadInput(f"--tz {zone!r} is no time zone; write it like Europe/Berlin") from e
    pieces, where = np.unique(np.where(known, local, 0) // _PIECE_MS, return_inverse=True)
    judged = [_judged(int(piece) * _PIECE_MS, info) for piece in pieces.tolist()]
    offset = np.array([one[0] for one in judged], dtype=np.int64)[where]
    missing = np.array([one[1] for one in judged], dtype=np.bool_)[where] & known
    twice = np.array([one[2] for one in judged], dtype=np.bool_)[where] & known
    return LocalTimes(local - offset, missing, twice, [f"times of {zone}"])


def is_utc(zone: str) -> bool:
    """Return whether a name of a zone means UTC."""
    return zone.strip().casefold() in {*_UTC_NAMES, "+00:00", "+0000", "+00", "0", "0.0", ""}


def zone_in(name: str) -> str:
    """Return the zone other than UTC that a name or heading says; "" if it says none."""
    for found in _IANA.findall(name):
        try:
            ZoneInfo(found)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
        if not is_utc(found):
            return str(found)
    said = _ZONE_IN_NAME.search(name.replace("_", " "))
    return said[0] if said and not re.fullmatch(r"[+-]\s*[0:]+", said[2] or "") else ""


def _judged(local_ms: int, zone: ZoneInfo) -> tuple[int, bool, bool]:
    """Return the offset of a local time, ms, and whether it is missing or exists twice."""
    naive = (_EPOCH + timedelta(milliseconds=local_ms)).replace(tzinfo=None)
    first, second = (naive.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None
    assert second is not None
    offset = round(first.total_seconds() * 1000)
    # A gap has the later offset larger; an hour that repeats has it smaller.
    return offset, second > first, second < first

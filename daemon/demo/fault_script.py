"""Read fault scripts: TOML files with the faults of the replay exchange and their times."""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import msgspec

from daemon.core.msgspec_errors import read_misfit
from daemon.core.outside_text import printable
from daemon.core.suggestions import did_you_mean
from daemon.demo.faults import AT_ONCE, BY_BAR, Disconnect, Fault
from hyperdrift.errors import BadInput

_KINDS: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in get_args(Fault)}
_LIST = "faults"


def read_script(path: Path) -> tuple[Fault, ...]:
    """Read a fault script.

    Raises:
        BadInput: If it is not valid; the text names the entry and its key, and says what to write.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); give a fault script") from e
    except (ValueError, RecursionError) as e:
        raise BadInput(f"{path}: is not TOML: {printable(str(e))}") from e
    entries = document.pop(_LIST, None)
    if document or not isinstance(entries, list) or not entries:
        wrong = f"{next(iter(document))!r} is no part of" if document else "there is nothing in"
        raise BadInput(f"{path}: {wrong} a fault script; write [[{_LIST}]] with kind and at_ms")
    faults = []
    for number, entry in enumerate(entries, start=1):
        try:
            faults.append(read_fault(entry))
        except ValueError as e:
            raise BadInput(f"{path}: [[{_LIST}]] number {number}: {e}") from e
    return tuple(faults)


def check_coins(faults: Collection[Fault], coins: Collection[str]) -> None:
    """Check that every fault's coin is replayed: otherwise no client would see the fault.

    Raises:
        BadInput: If one is not; the text names the coin, and the coins that are replayed.
    """
    for fault in faults:
        coin = getattr(fault, "coin", "")
        if coin and coin not in coins:
            listed = " or ".join(sorted(coins))
            msg = f"a fault names coin {coin!r}, which is not replayed; write {listed}"
            raise BadInput(msg)


def read_fault(entry: Any) -> Fault:
    """Read one entry of a fault script.

    Raises:
        ValueError: If it is not valid; the text names the key, and says what to write.
    """
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = did_you_mean(str(kind), _KINDS, f"write one of {', '.join(_KINDS)}")
        raise ValueError(f"kind is {kind!r}; {hint}" if kind else f"kind is missing; {hint}")
    struct = _KINDS[kind]
    try:
        fault: Fault = msgspec.convert(entry, struct)
    except msgspec.ValidationError as e:
        raise ValueError(f"{kind}: {_explained(str(e), entry, struct)}") from e
    problem = _problem(fault)
    if problem:
        raise ValueError(f"{kind}: {problem}")
    return fault


def _explained(error: str, entry: dict[str, Any], struct: Any) -> str:
    misfit, keys = read_misfit(error), struct.__struct_fields__
    if misfit.unknown:
        hint = did_you_mean(misfit.unknown, keys, f"write one of {', '.join(keys)}")
        return f"{misfit.unknown!r} is not a key of it; {hint}"
    if misfit.missing:
        return f"{misfit.missing} is missing; write it, in milliseconds of the venue's time"
    key, what = misfit.path, misfit.what
    return f"{key}: {what[0].lower()}{what[1:]}, was {entry.get(key)!r}"


def _problem(fault: Fault) -> str | None:
    """Check what the types of the fields do not check; return what is wrong, or None."""
    if fault.at_ms is None and fault.at_wall_s is None:
        return "at_ms is missing; write when it begins, in ms of the venue's time, or at_wall_s"
    venue = (fault.at_ms, fault.for_ms) != (None, None)
    wall = (fault.at_wall_s, fault.for_wall_s) != (None, None)
    if venue and wall:
        return "it keeps to two clocks; write at_ms with for_ms, or at_wall_s with for_wall_s"
    if wall and isinstance(fault, BY_BAR):
        return "at_wall_s names no bars; write at_ms and for_ms"
    lasts = fault.for_ms is not None or fault.for_wall_s is not None
    if lasts and isinstance(fault, AT_ONCE) and not isinstance(fault, Disconnect):
        return "it happens at once; leave for_ms and for_wall_s out"
    if not lasts and not isinstance(fault, AT_ONCE):
        return "for_ms is missing; write how long it lasts, or for_wall_s with at_wall_s"
    return None

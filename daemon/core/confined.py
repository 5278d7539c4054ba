"""Start a program that may not read secrets nor write into the data folder.

    python -I confined.py '{"hidden": [...], "kept": [...], "writable": [...]}' PROGRAM ARGUMENT...

A retrain unpickles models and runs the bot's own class for features, under the daemon's user. So
the kernel takes these rights from it and from all that it starts, for ever: Landlock, which needs
no privilege (Linux 5.13). It knows only grants, so each neighbour of a path without rights gets
them. Where the kernel has none, the program starts as it is; `hyperdrift doctor` says so.

Source: the kernel's Documentation/userspace-api/landlock.rst. Only the standard library is
imported, because the interpreter is started in isolated mode.
"""

import ctypes
import json
import os
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # system calls, on every architecture
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_MAKE_AND_REMOVE: Final = sum(1 << bit for bit in range(4, 13))
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 without it."""
    return max(0, _call(_CREATE, None, 0, _ASK_VERSION))


def confine(hidden: Collection[Path], kept: Collection[Path], writable: Collection[Path]) -> bool:
    """Take rights from this process and all that it starts.

    Args:
        hidden: Files and folders that cannot be read or written any more.
        kept: Folders that cannot be written any more.
        writable: Folders inside those of `kept` that still can.

    Returns:
        Whether the kernel did so.
    """
    version = landlock_version()
    if not version:
        return False
    write = _WRITE_FILE | _MAKE_AND_REMOVE | (_REFER if version > 1 else 0)
    write |= _TRUNCATE if version > 2 else 0  # noqa: PLR2004 - that version brought it
    made = _Ruleset(_READ | write)
    ruleset = _call(_CREATE, ctypes.byref(made), ctypes.sizeof(made), 0)
    secrets, fixed = _real(hidden), _real(hidden) | _real(kept)
    for path in _beside(Path("/"), secrets):
        _grant(ruleset, path, _READ)
    for path in (*_beside(Path("/"), fixed), *_real(writable)):
        _grant(ruleset, path, _READ | write)
    _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = _call(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return done == 0


def _real(paths: Collection[Path]) -> set[Path]:
    return {Path(os.path.realpath(path)) for path in paths if os.path.lexists(path)}


def _beside(folder: Path, without: Collection[Path]) -> Iterator[Path]:
    """Yield what covers all below a folder but some paths; links are covered by their targets."""
    if folder in without:
        return
    if not any(folder in path.parents for path in without):
        yield folder
        return
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if not path.is_symlink():
            yield from _beside(path, without)


def _grant(ruleset: int, path: Path, access: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be opened needs no grant
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= _OF_FILES
        rule = _Beneath(access, beneath)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: object) -> int:
    return int(_libc().syscall(number, *arguments))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def main(told: str, *program: str) -> None:
    """Take the rights, then become the program."""
    paths = {name: [Path(each) for each in given] for name, given in json.loads(told).items()}
    confine(**paths)
    os.execvp(program[0], program)  # noqa: S606 - that is the purpose


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Keep objects usable in a forked process, which has the memory of its parent but no thread of it.

A lock that another thread held at the fork would stay locked for ever in the child.
"""

import os
import threading
from typing import Final, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that has to know of a fork."""

    def note_fork(self) -> None:
        """Called in the child before anything else runs there; it must return at once."""
        ...


_KNOWN: "Final[WeakSet[Forked]]" = WeakSet()


def tell_of_forks(owner: Forked) -> None:
    """Call the `note_fork` of an object in each process that is forked while it exists."""
    _KNOWN.add(owner)


def lock_for_forks() -> threading.Lock:
    """Return a lock that no other thread holds at a fork: a fork waits until it is free.

    A thread must hold one such lock at a time: a fork takes all of them, one after the other.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


def _tell() -> None:
    for owner in list(_KNOWN):
        owner.note_fork()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_tell)

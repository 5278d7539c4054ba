"""Be told when something in a folder changes, by watchdog where it is installed.

Without it nobody tells, and whoever waits has to look now and then: the same as on network
folders, which tell nobody either.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver, ObservedWatch

# What reading a file brings about; our own checks would wake us for ever.
_READING = frozenset({"opened", "closed_no_write"})


class FolderWatch:
    """Calls back from a thread of its own.

    Args:
        on_change: Called without arguments after each change in the folder.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, ObservedWatch] | None = None

    def start(self) -> None:
        """Start the thread, if watchdog is installed and the system lets it."""
        with contextlib.suppress(ImportError, OSError):
            from watchdog.observers import Observer  # noqa: PLC0415 - an extra

            observer = Observer()
            observer.start()
            self._observer = observer

    def stop(self) -> None:
        """End the thread."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def follow(self, folder: Path) -> None:
        """Watch the folder that has this name now; it may have been made or replaced since.

        Raises:
            OSError: If there is no such folder.
        """
        inode = folder.stat().st_ino
        if self._observer is None or (self._watched is not None and self._watched[0] == inode):
            return
        if self._watched is not None:
            with contextlib.suppress(KeyError):  # it went with its folder
                self._observer.unschedule(self._watched[1])
            self._watched = None
        with contextlib.suppress(OSError):  # the system has no watches left: we look by ourselves
            self._watched = (inode, self._observer.schedule(_handler(self._noted), str(folder)))

    def _noted(self, event: "FileSystemEvent") -> None:
        if event.event_type not in _READING:
            self._on_change()


def _handler(take: "Callable[[FileSystemEvent], None]") -> "FileSystemEventHandler":
    """Return what watchdog hands its events to."""
    from watchdog.events import FileSystemEventHandler  # noqa: PLC0415 - an extra

    handler = FileSystemEventHandler()
    handler.on_any_event = take  # type: ignore[method-assign, assignment]  # an instance, not a class
    return handler

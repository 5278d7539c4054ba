"""Call back when something in a folder changes, if watchdog is installed.

Without watchdog, and on network folders, no change is reported. So the caller also has to
look at the folder at intervals.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver, ObservedWatch

# Events of reading a file. The callback reads files: these events would call it for ever.
_READING = frozenset({"opened", "closed_no_write"})


class FolderWatch:
    """Watches one folder, and calls back from a thread of its own.

    Args:
        on_change: Called without arguments after each change in the folder.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, ObservedWatch] | None = None

    def start(self) -> None:
        """Start the thread, if watchdog is installed and the system allows it."""
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
        """Watch the folder that has this name now; call it again, as it may be replaced.

        Raises:
            OSError: If there is no such folder.
        """
        inode = folder.stat().st_ino
        if self._observer is None or (self._watched is not None and self._watched[0] == inode):
            return
        if self._watched is not None:
            with contextlib.suppress(KeyError):  # it was removed with its folder
                self._observer.unschedule(self._watched[1])
            self._watched = None
        with contextlib.suppress(OSError):  # no watches left: the caller looks at intervals
            self._watched = (inode, self._observer.schedule(_handler(self._noted), str(folder)))

    def _noted(self, event: "FileSystemEvent") -> None:
        if event.event_type not in _READING:
            self._on_change()


def _handler(take: "Callable[[FileSystemEvent], None]") -> "FileSystemEventHandler":
    """Return a watchdog handler that passes each event to `take`."""
    from watchdog.events import FileSystemEventHandler  # noqa: PLC0415 - an extra

    handler = FileSystemEventHandler()
    handler.on_any_event = take  # type: ignore[method-assign, assignment]  # an instance, not a class
    return handler

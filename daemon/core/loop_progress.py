"""Record whether a loop makes progress. The loop's owner writes it, the watchdog reads it."""

import contextlib
from collections.abc import Iterator


class LoopProgress:
    """The progress of one loop: it waits for work, or works on another item than last time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._at_work = False
        self._begun = self._seen = 0

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Mark the loop as working while the block runs; use it around one item."""
        self._at_work, self._begun = True, self._begun + 1
        try:
            yield
        finally:
            self._at_work = False

    def is_alive(self) -> bool:
        """Return whether the loop waits, or has begun an item since the last call."""
        seen, self._seen = self._seen, self._begun
        return not self._at_work or self._begun > seen

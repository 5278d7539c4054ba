"""Whether a loop still makes progress: the watchdog asks, whoever owns the loop tells."""

import contextlib
from collections.abc import Iterator


class LoopProgress:
    """Shows whether one loop gets on: it waits for work, or is at another piece than last time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._at_work = False
        self._begun = self._seen = 0

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold around one piece of work."""
        self._at_work, self._begun = True, self._begun + 1
        try:
            yield
        finally:
            self._at_work = False

    def is_alive(self) -> bool:
        """Tell whether the loop waits, or has begun anything since the last call."""
        seen, self._seen = self._seen, self._begun
        return not self._at_work or self._begun > seen

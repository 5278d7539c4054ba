"""Log a lasting trouble in two lines: one when it begins and one when it is over."""

from collections import Counter
from collections.abc import Hashable


class LogOnce:
    """Decides when to log a trouble that is noticed many times while it lasts.

    The caller writes the log lines itself, so that a search for an event finds the caller:

        if self._outage.begins():
            log.warning("venue.unreachable", why=why)
        ...
        if self._outage.ends():
            log.info("venue.back")

    If several things can have the trouble, give a `key` for each; each then has its own lines.
    """

    def __init__(self) -> None:
        self._times: Counter[Hashable] = Counter()

    def begins(self, key: Hashable = None) -> bool:
        """Count one sign of the trouble; return whether it is the first since the last end."""
        self._times[key] += 1
        return self._times[key] == 1

    def ends(self, key: Hashable = None) -> int:
        """Note that the trouble is over; return how many signs were counted, 0 if none."""
        return self._times.pop(key, 0)

    def lasts(self, key: Hashable = None) -> bool:
        """Return whether the trouble began and is not over."""
        return key in self._times

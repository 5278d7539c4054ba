"""Log once while it lasts: one line when a trouble begins, one when it is over."""

from collections import Counter
from collections.abc import Hashable


class LogOnce:
    """Tells when to log a trouble that is noticed again and again while it lasts.

    The log lines stay where the trouble is noticed, so that a search for them finds it:

        if self._outage.begins():
            log.warning("venue.unreachable", why=why)
        ...
        if self._outage.ends():
            log.info("venue.back")

    Give a `key` where several may have the trouble, each with lines of its own.
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
        """Tell whether the trouble began and is not over."""
        return key in self._times

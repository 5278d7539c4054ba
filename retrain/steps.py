"""The steps of a retrain: how far each has come when it begins, and how long it took."""

from collections.abc import Callable
from typing import Final

Progress = Callable[[str, float], None]

_PERCENT: Final = {
    "features": 1.0,
    "labels": 3.0,
    "out-of-fold": 5.0,
    "judge": 55.0,
    "champion": 60.0,
    "refit": 75.0,
    "save": 90.0,
    "report": 93.0,
    "self-test": 97.0,
    "done": 100.0,
}


class StepWatch:
    """Reports progress, and keeps how long each step took.

    Args:
        progress: Called with each step's name and the percentage done when it begins.
        timer: A monotonic clock in seconds.

    Attributes:
        seconds: Of each step that has ended.
    """

    def __init__(self, progress: Progress, timer: Callable[[], float]) -> None:
        self._progress, self._timer, self._since = progress, timer, timer()
        self._step, self.seconds = "", dict[str, float]()

    def step(self, name: str) -> None:
        """End the step under way, if any, and begin one."""
        now = self._timer()
        if self._step:
            self.seconds[self._step] = round(now - self._since, 3)
        self._step, self._since = name, now
        self._progress(name, _PERCENT[name])

"""river's Page-Hinkley test, anchored at a known mean and with public evidence.

With its mean anchored, no forgetting and a tolerance of half the change that matters it
is the CUSUM of the likelihood ratio, the quickest detector of a known change (G. Lorden,
Annals of Mathematical Statistics 42, 1971); fed from a cold start it is river's own.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import river

if TYPE_CHECKING:
    from river.drift import PageHinkley
else:
    # Of river.drift only this file: its other detectors bring scikit-learn, pandas and scipy.stats,
    # 70 MiB and half of the time in which a command starts. Who imports all of it later gets this.
    _NAME: Final = "river.drift.page_hinkley"
    if _NAME not in sys.modules:
        _spec = PathFinder.find_spec(_NAME, [f"{path}/drift" for path in river.__path__])
        sys.modules[_NAME] = module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_NAME])
    PageHinkley = sys.modules[_NAME].PageHinkley


class AnchoredPageHinkley(PageHinkley):
    """A change detector for one series.

    Args:
        threshold: Evidence that raises an alarm.
        tolerance: Change of the mean that is tolerated, in the unit of the series.
        anchor: Number of observations of `mean` that the test begins with.
        mean: The known mean of the series.
        mode: Which changes count.
        warm_up: Observations before the first alarm.
    """

    def __init__(
        self,
        *,
        threshold: float,
        tolerance: float,
        anchor: int = 0,
        mean: float = 0.0,
        mode: Literal["both", "down"] = "both",
        warm_up: int = 1,
    ) -> None:
        self._anchor, self._anchor_mean = anchor, mean
        super().__init__(
            min_instances=warm_up, delta=tolerance, threshold=threshold, alpha=1.0, mode=mode
        )

    def _reset(self) -> None:
        """Begin as if `anchor` observations of the known mean had just been taken."""
        super()._reset()  # type: ignore[no-untyped-call] # river's is not annotated
        if self._anchor:
            self._x_mean.update(self._anchor_mean, w=self._anchor)
            self._min_increase = 0.0
            self._max_decrease = 0

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the method that river picks by the mode."""
        return {name: value for name, value in vars(self).items() if name != "_test_drift"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._test_drift = self._test_decrease if self.mode == "down" else self._test_both

    def take(self, value: float) -> bool:
        """Take one finite observation; return whether it raised an alarm."""
        self.update(value)  # type: ignore[no-untyped-call] # river's is not annotated
        return bool(self.drift_detected)

    @property
    def evidence(self) -> tuple[float, float]:
        """Evidence of a rise and of a fall, as multiples of the threshold."""
        rise = self._sum_increase - self._min_increase
        fall = self._max_decrease - self._sum_decrease
        return max(0.0, rise) / self.threshold, max(0.0, fall) / self.threshold

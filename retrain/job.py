"""The input of a retrain: bars, settings, and the live model."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrain import features
from retrain.champion import ChampionModel
from retrain.computers import Computed
from retrain.dataset import Frame
from retrain.deciding.costs import Costs
from retrain.deciding.expectation import RuleSettings
from retrain.judging.gate_limits import GateLimits
from retrain.stacking.stack import Fits, Recipe

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """The input of a retrain.

    `frame` is what `features.compute` takes, closed bars only: columns of shape (n_bars,);
    `at_ms` names the version;
    `previous_threshold` is what `threshold` chose before; `champion` the live model, if any;
    `python` the interpreter that must be able to load the joblib file, ours if empty;
    `onnx_python` one with onnx and onnxruntime, ours if empty; `fits` keeps fitted base models for
    other jobs over the same bars; `backtest` leaves out what changes no verdict, the report and the
    proofs of all forms but the first model's; `computed` is what a bot's own class made of the
    frame, None if the features are ours.
    """

    slot: str
    interval: str
    horizon_bars: int
    threshold: float | str
    at_ms: int
    frame: Frame = field(repr=False)
    previous_threshold: float | None = None
    seed: int = 0
    min_signal_rate: float = 0.005
    limits: GateLimits = field(default_factory=GateLimits)
    champion: ChampionModel | None = field(default=None, repr=False)
    reason: str = ""
    git_commit: str = ""
    python: str = ""
    onnx_python: str = ""
    costs: Costs = field(default_factory=Costs)
    jobs: int = 2
    recipe: Recipe = field(default_factory=Recipe)
    fits: Fits | None = field(default=None, repr=False)
    backtest: bool = False
    computed: Computed | None = field(default=None, repr=False)

    @property
    def schema_hash(self) -> str:
        """Hash that names the features of the training rows."""
        return self.computed.schema_hash if self.computed else features.schema_hash()

    @property
    def close_ms(self) -> NDArray[np.int64]:
        """When each bar closed, ms UTC, shape (n_bars,)."""
        return np.asarray(self.frame["t"], dtype=np.int64) + self._step_ms

    @property
    def round_trip_bps(self) -> float:
        """Cost of a position that is held for the horizon, basis points."""
        return self.costs.round_trip_bps(self.horizon_bars * self._step_ms / _HOUR_MS)

    @property
    def rule_settings(self) -> RuleSettings:
        """What the decision rule is chosen by."""
        return RuleSettings(min_signal_rate=self.min_signal_rate, cost_bps=self.round_trip_bps)

    @property
    def _step_ms(self) -> int:
        """Length of a bar: the median step, as bars may be missing."""
        return int(np.median(np.diff(np.asarray(self.frame["t"], dtype=np.int64))))

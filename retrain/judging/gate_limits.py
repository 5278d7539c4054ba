"""Define the limits of the gates, and what a gate says."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from retrain.errors import BadSetting

EARNS: Final = ("tell", "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limit of every gate, by the gate's name."""

    train_accuracy: float = 0.60
    """Accuracy of the most probable class on the training rows must be above this fraction."""
    test_accuracy: float = 0.55
    """Accuracy of the most probable class on the test rows must be above this fraction."""
    all_classes: float = 0.005
    """DOWN, NEUTRAL and UP must each be at least this fraction of the test decisions. DOWN and UP
    may be fewer, never none, where chance explains it or training bars were as quiet once."""
    overfit: float = 0.10
    """Train minus test accuracy must be below this; train log loss not below half of test's."""
    beats_prior: float = 0.0
    """The lower end of the 95 % interval of the skill over the class shares must be above this."""
    direction: float = 0.0
    """The upper end of the 95 % interval of the correlation with the return must reach this."""
    calibrated: float = 0.05
    """The calibration error of each class beyond chance, a probability, must be within this."""
    beats_champion: float = 0.01
    """Log loss may be worse than the champion's by at most this fraction, and not surely worse."""
    earns: str = "tell"
    """`tell` what a signal earns after costs, or `refuse` unless its 95 % interval is above 0."""
    parity: float = 1e-9
    """Features as served and as trained on may differ by at most this, absolute."""
    same_bars: float = 0.5
    """At most this fraction of the bars that the live model learnt from may have changed since."""
    loads: float = 1e-9
    """A fresh interpreter must reproduce the golden probabilities to within this, absolute. The
    portable form must give the same as the joblib to within 1e-6."""
    budget_mib: float = 64.0
    """Each file of the model may have at most this many MiB."""
    budget_ms: float = 1.0
    """A prediction of one row by the portable form may take at most this many milliseconds."""
    refit_agrees: float = 0.05
    """The refit may move the class shares of its twin by at most this fraction, except towards
    what happened on the judged bars, which it has learnt and its twin has not."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "GateLimits":
        """Return the defaults with some limits replaced.

        Raises:
            BadSetting: If there is no such gate or a limit is not a finite number.
        """
        known = [one.name for one in fields(cls)]
        for name, value in values.items():
            if name not in known:
                raise BadSetting(f"gates.{name}", value, f"one of {', '.join(known)}")
            if name == "earns":
                if value not in EARNS:
                    raise BadSetting("gates.earns", value, " or ".join(EARNS))
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadSetting(f"gates.{name}", value, "a number")
            if not math.isfinite(value):
                raise BadSetting(f"gates.{name}", value, "a finite number")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Gate:
    """One verdict; `value` is None if there was nothing to measure."""

    name: str
    value: float | None
    limit: float
    passed: bool
    verdict: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = asdict(self)
        if self.value is not None and not math.isfinite(self.value):
            plain["value"] = None
        return plain

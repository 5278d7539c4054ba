"""Tell when the live features no longer come from what a model learnt."""

from monitor.drift.drift_monitor import (
    Calibration,
    DriftDetected,
    DriftMonitor,
    FeedFault,
    calibrate,
)

__all__ = ["Calibration", "DriftDetected", "DriftMonitor", "FeedFault", "calibrate"]

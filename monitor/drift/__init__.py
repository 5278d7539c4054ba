"""Detect that the live features left the distribution that a model learnt."""

from monitor.drift.drift_monitor import (
    Calibration,
    DriftDetected,
    DriftMonitor,
    FeedFault,
    calibrate,
)

__all__ = ["Calibration", "DriftDetected", "DriftMonitor", "FeedFault", "calibrate"]

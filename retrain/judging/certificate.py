"""Build the certificate of a version: the content of training_meta and of the report.

A bot refuses a version whose certificate is missing, incomplete or not passed.
"""

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn

from retrain.champion import Anchors
from retrain.dataset import Rows
from retrain.forms.load_proof import LoadProof
from retrain.judging.gate_limits import Gate
from retrain.labels import shares
from retrain.manifest import Version
from retrain.scores import Scores


def certificate(
    version: Version,
    rows: Rows,
    gates: tuple[Gate, ...],
    scores: Mapping[str, Scores | None],
    *,
    forms: Mapping[str, LoadProof],
    anchors: Anchors,
    findings: Mapping[str, Any],
    timings: Mapping[str, float],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return plain JSON values.

    Args:
        version: The version.
        rows: The rows that it was trained and judged on.
        gates: All verdicts.
        scores: Of the twin on `train` and `test`, and of the `champion` if there was one.
        forms: The proof of each form of the model.
        anchors: Some of the bars, for its successor to find again.
        findings: What `findings.find` returned.
        timings: Seconds of each step.
        settings: The job's settings and the span of its bars.
    """
    return {
        "model_id": version.model_id,
        "slot": version.slot,
        "interval": version.interval,
        "passed": all(gate.passed for gate in gates),
        "refused_by": [gate.name for gate in gates if not gate.passed],
        "gates": [gate.as_dict() for gate in gates],
        "settings": dict(settings),
        "forms": {name: proof.as_dict() for name, proof in forms.items()},
        "earns": _earned(scores["test"]),
        "signal_threshold": {"up": version.up, "down": version.down},
        "decision_rule": dict(version.decision_rule),
        "anchors": [list(anchor) for anchor in anchors],
        "trained_to_ms": version.trained_to_ms,
        "rows": {"train": len(rows.labels[rows.train]), "test": len(rows.labels[rows.test])},
        "class_shares": {
            "train": shares(rows.labels[rows.train]).tolist(),
            "test": shares(rows.labels[rows.test]).tolist(),
        },
        "scores": {name: one.as_dict() if one else None for name, one in scores.items()},
        "findings": dict(findings),
        "timings": dict(timings),
        "versions": {
            "python": platform.python_version(),
            "sklearn": sklearn.__version__,
            "numpy": np.__version__,
        },
    }


def _earned(test: Scores | None) -> dict[str, Any] | None:
    """Return what a signal of the test block earned, with the sentence that says so."""
    if test is None:
        return None
    earned = test.decisions.earned
    return {**earned.as_dict(), "text": str(earned)}

"""The names and settings of a version that a retrain makes; values only, no files.

Who reads a version, checks the form of its manifest in `hyperdrift.manifest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.forms.parts import Parts

CLASS_ORDER: Final = (0, 1, 2)
_SUFFIXES: Final = {
    "meta_classifier": "joblib",
    "feature_columns": "json",
    "training_meta": "json",
    "golden": "json",
    "report": "html",
}
_STAMP: Final = "%Y%m%d_%H%M%S"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version to be written: a fitted model and its settings.

    `threshold` is the fraction that labels used, or the text `vol:<multiple>`;
    `golden_rows` has shape (n, 17), `golden_probabilities` (n, 3): what was judged, computed
    apart from `model`, so that a wrongly assembled one is found out. `trained_to_ms` is the
    close of the newest bar used. `decision_rule` is the out-of-fold estimate of the signal
    thresholds. `parts` describe the model; without them it has no portable form.
    """

    at_ms: int
    slot: str
    interval: str
    model: Any
    feature_cols: tuple[str, ...]
    schema_hash: str
    up: float
    down: float
    horizon_bars: int
    threshold: float | str
    trained_to_ms: int
    golden_rows: NDArray[np.float64] = field(repr=False)
    golden_probabilities: NDArray[np.float64] = field(repr=False)
    git_commit: str = ""
    computer: str = "builtin"
    decision_rule: Mapping[str, Any] = field(default_factory=dict)
    parts: Parts | None = field(default=None, repr=False)

    @property
    def model_id(self) -> str:
        """`<YYYYmmdd_HHMMSS>_<schema_hash>`."""
        return model_id(self.at_ms, self.schema_hash)

    @property
    def files(self) -> dict[str, str]:
        """Manifest field -> file name, relative to the version's folder."""
        suffixes = _SUFFIXES if self.parts is None else {**_SUFFIXES, "parts": "npz"}
        return {name: f"{name}_{self.model_id}.{suffix}" for name, suffix in suffixes.items()}

    @property
    def portable(self) -> str:
        """File name of the portable form."""
        return f"model_{self.model_id}.onnx"


def stamp(at_ms: int) -> str:
    """Return `YYYYmmdd_HHMMSS` in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=timezone.utc).strftime(_STAMP)


def made_at(version_id: str) -> datetime:
    """Return the time that `model_id` put into a version's name.

    Raises:
        ValueError: If it is not such a name.
    """
    return datetime.strptime(f"{version_id[: len('YYYYmmdd_HHMMSS')]}+0000", f"{_STAMP}%z")


def model_id(at_ms: int, schema_hash: str) -> str:
    """Return the name of the version trained at `at_ms`."""
    return f"{stamp(at_ms)}_{schema_hash}"


def manifest_name(version_id: str) -> str:
    """Return the file name of a version's own immutable manifest."""
    return f"manifest_{version_id}.json"

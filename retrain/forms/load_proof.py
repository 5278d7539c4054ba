"""What is measured when a saved model is loaded in a fresh interpreter."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

PORTABLE_TOLERANCE: Final = 1e-6
"""Largest difference between the probabilities of the two forms of a model."""


@dataclass(frozen=True, kw_only=True)
class LoadProof:
    """The result of loading a saved model in a fresh interpreter; `error` is "" if all is well.

    `difference` is the largest from the `rows` probabilities that it must reproduce; `library`
    is the version of scikit-learn, or of onnxruntime for the portable form.
    """

    error: str
    difference: float = math.nan
    rows: int = 0
    predict_ms: float = math.nan
    python: str = ""
    library: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, None for what was not measured."""
        plain = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in plain.items()}

"""A model that does harm where it is loaded, in a process that has MINE set: a bot's bad day."""

import os
import time
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin


class Mined(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Answers as the model in it does, once it is loaded."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.classes_, self.n_features_in_ = inner.classes_, inner.n_features_in_

    def predict_proba(self, rows: Any) -> Any:
        return self.inner.predict_proba(rows)

    def __setstate__(self, state: dict[str, Any]) -> None:
        mine = os.environ.get("MINE")
        if mine == "raise":
            raise RuntimeError("a library that this bot does not have")
        if mine == "die":
            os._exit(1)
        if mine == "hang":
            time.sleep(3600)
        super().__setstate__(state)

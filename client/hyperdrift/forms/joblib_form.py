"""Load the joblib form of a model: a pickle of scikit-learn's own classes.

Only the scikit-learn that wrote it can load it.
"""

import io
from typing import TYPE_CHECKING, Any, Final

from hyperdrift.errors import VersionRefused
from hyperdrift.manifest import CLASS_ORDER, Manifest
from hyperdrift.process.forks import lock_for_forks
from hyperdrift.process.loading import gc_paused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships none

GOLDEN_TOLERANCE: Final = 1e-9
# One thread predicts at a time. scikit-learn's forests replace the process's warning filters
# while they predict. Two threads at once would leave the filters empty: then every tree warns.
_ALONE: Final = lock_for_forks()


class JoblibModel:
    """A loaded joblib form; `predict` may be called from any thread.

    Args:
        model: The fitted estimator, without the names of its columns.
        threads: The thread pools of the process.
    """

    golden_tolerance = GOLDEN_TOLERANCE

    def __init__(self, model: Any, threads: "ThreadpoolController") -> None:
        self._model, self._threads = model, threads

    def predict(self, rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for rows (n, 17).

        Raises:
            ValueError: If scikit-learn cannot use the rows, for example a NaN.
        """
        import numpy as np  # noqa: PLC0415 - see `load_joblib`

        # A second OpenMP thread makes one row no faster. If another process has its core,
        # waiting for that thread takes a hundred times as long as the prediction.
        with _ALONE, self._threads.limit(limits=1, user_api="openmp"):
            given = self._model.predict_proba(rows)
        return np.asarray(given, dtype=np.float64)


def load_joblib(manifest: Manifest, content: bytes, names: tuple[str, ...]) -> JoblibModel:
    """Unpickle a joblib form. Blocks for a second.

    The names of the columns are compared here, once, and then removed from the estimators.
    Otherwise scikit-learn would want a pandas frame at every call, and a bot may lack pandas.

    Args:
        manifest: The manifest of the version.
        content: The file, whose digest was compared.
        names: The names of the features.

    Raises:
        VersionRefused: If it takes other features, or its classes are not the contract's.
    """
    # numpy and scikit-learn take seconds to import. Imported here, they delay a thread of the
    # bot and not the bot's start.
    import joblib  # noqa: PLC0415
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415

    with gc_paused():
        model = joblib.load(io.BytesIO(content))
    known = tuple(map(str, getattr(model, "feature_names_in_", names)))
    _forget_names(model, set())
    dim = manifest.feature_dim
    inputs = getattr(model, "n_features_in_", None)
    classes = [int(c) for c in getattr(model, "classes_", ())]
    if inputs != dim:
        reason = f"the model takes {inputs} inputs, the manifest says {dim}: save the whole stack"
    elif known != names:
        reason = "the model was fitted with other names of features than feature_columns has"
    elif classes != list(CLASS_ORDER):
        reason = f"the model's classes are {classes}, must be [0, 1, 2]"
    else:
        return JoblibModel(model, ThreadpoolController())
    raise VersionRefused(manifest.model_id, f"{manifest.meta_classifier}: {reason}")


def _forget_names(part: Any, seen: set[int]) -> None:
    """Remove the names of columns from an estimator and from all of its parts."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if type(part).__module__.startswith("sklearn.") or hasattr(part, "get_params"):
        inner = getattr(part, "__dict__", {})
        inner.pop("feature_names_in_", None)
        parts = list(inner.values())
    elif isinstance(part, dict):
        parts = list(part.values())
    elif isinstance(part, (list, tuple)):
        parts = list(part)
    elif str(getattr(part, "dtype", "")) == "object":
        parts = part.ravel().tolist()
    else:
        return
    for one in parts:
        _forget_names(one, seen)

"""Load a version into memory from bytes that were checked, and test it on its golden rows."""

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hyperdrift.errors import VersionRefused
from hyperdrift.loading import gc_paused
from hyperdrift.manifest import CLASS_ORDER, Manifest
from hyperdrift.version_files import check_files, json_of, read_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships none

GOLDEN_TOLERANCE: Final = 1e-9
# One thread predicts at a time. scikit-learn's forests replace the process's warning filters
# while they predict. Two threads at once would leave the filters empty: then every tree warns.
_ALONE: Final = threading.Lock()


@dataclass(frozen=True)
class LoadedModel:
    """A version in memory, ready to predict; `load` has checked it.

    Attributes:
        manifest: The version's manifest.
        model: The fitted estimator, without the names of its columns; see `load`.
        feature_cols: Names of its 17 features, in order.
        golden: Golden rows, shape (n, 17), and the probabilities (n, 3) that they must give.
        threads: The thread pools of the process.
    """

    manifest: Manifest
    model: Any
    feature_cols: tuple[str, ...]
    golden: "tuple[NDArray[np.float64], NDArray[np.float64]]" = field(repr=False)
    threads: "ThreadpoolController" = field(repr=False)

    @property
    def model_id(self) -> str:
        """`<YYYYmmdd_HHMMSS>_<schema_hash>`."""
        return self.manifest.model_id

    @property
    def up(self) -> float:
        """Probability of UP from which the model signals UP."""
        return self.manifest.up

    @property
    def down(self) -> float:
        """Probability of DOWN from which the model signals DOWN."""
        return self.manifest.down

    def predict(
        self, rows: "NDArray[np.float64] | Sequence[Sequence[float]]"
    ) -> "NDArray[np.float64]":
        """Return the probabilities of DOWN, NEUTRAL, UP.

        Args:
            rows: Shape (n, 17), raw, in the order of `feature_cols`.

        Returns:
            Shape (n, 3).

        Raises:
            ValueError: If scikit-learn cannot use the rows, for example a NaN.
        """
        import numpy as np  # noqa: PLC0415 - see `load`

        # A second OpenMP thread makes one row no faster. If another process has its core,
        # waiting for that thread takes a hundred times as long as the prediction.
        with _ALONE, self.threads.limit(limits=1, user_api="openmp"):
            given = self.model.predict_proba(np.asarray(rows, dtype=np.float64))
        return np.asarray(given, dtype=np.float64)

    def check_golden(self) -> float:
        """Return the largest difference from the golden probabilities.

        Raises:
            VersionRefused: If it exceeds 1e-9: then this is not the model that was judged.
        """
        rows, expected = self.golden
        difference = float(abs(self.predict(rows) - expected).max())
        if not difference <= GOLDEN_TOLERANCE:  # also when it is NaN
            reason = (
                f"the golden rows come out {difference:.3g} off; load it with the scikit-learn "
                f"that wrote it ({self.manifest.sklearn}) or retrain"
            )
            raise VersionRefused(self.model_id, f"{self.manifest.golden}: {reason}")
        return difference


def preload() -> None:
    """Import what `load` needs, so that the first swap is faster. Blocks for two seconds."""
    import joblib  # noqa: F401, PLC0415
    import sklearn.ensemble  # noqa: F401, PLC0415


def load(manifest: Manifest, contents: Mapping[str, bytes]) -> LoadedModel:
    """Unpickle a version and test it on its golden rows. Blocks for a second.

    The names of the columns are compared here, once, and then removed from the estimators.
    Otherwise scikit-learn would want a pandas frame at every call, and a bot may lack pandas.

    Args:
        manifest: The manifest of the version.
        contents: File name -> bytes, as `check_files` returned them.

    Raises:
        VersionRefused: If the version differs from its manifest in anything.
    """
    # numpy and scikit-learn take seconds to import. Imported here, they delay a thread of the
    # bot and not the bot's start.
    import joblib  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415

    model_id = manifest.model_id
    columns = json_of(contents[manifest.feature_columns], manifest.feature_columns, model_id)
    golden = json_of(contents[manifest.golden], manifest.golden, model_id)
    try:
        with gc_paused():
            model = joblib.load(io.BytesIO(contents[manifest.meta_classifier]))
        names = tuple(columns["feature_cols"])
        known = getattr(model, "feature_names_in_", names)
        _forget_names(model, set())
        loaded = LoadedModel(
            manifest=manifest,
            model=model,
            feature_cols=names,
            golden=(np.asarray(golden["rows"], float), np.asarray(golden["probabilities"], float)),
            threads=ThreadpoolController(),
        )
    # A pickle of another scikit-learn may raise any error.
    except Exception as e:
        reason = f"cannot be loaded ({type(e).__name__}: {e}); written by scikit-learn "
        raise VersionRefused(model_id, reason + manifest.sklearn) from e
    _check_shape(loaded, tuple(map(str, known)))
    loaded.check_golden()
    return loaded


def load_version(path: Path) -> LoadedModel:
    """Compare the digests of the version that a manifest names, and load it. Blocks for a second.

    Args:
        path: LATEST.json, or a version's own manifest; the files lie beside it.

    Raises:
        VersionRefused: If the version differs from its manifest in anything.
    """
    manifest = read_manifest(path)
    return load(manifest, check_files(manifest, path.parent))


def _check_shape(loaded: LoadedModel, known: tuple[str, ...]) -> None:
    """Refuse a model unless it takes 17 raw features and returns DOWN, NEUTRAL and UP.

    Raises:
        VersionRefused: If it does not.
    """
    dim = loaded.manifest.feature_dim
    inputs = getattr(loaded.model, "n_features_in_", None)
    classes = [int(c) for c in getattr(loaded.model, "classes_", ())]
    if inputs != dim or len(loaded.feature_cols) != dim:
        reason = f"the model takes {inputs} inputs, the manifest says {dim}: save the whole stack"
    elif known != loaded.feature_cols:
        reason = "the model was fitted with other names of features than feature_columns has"
    elif classes != list(CLASS_ORDER):
        reason = f"the model's classes are {classes}, must be [0, 1, 2]"
    elif loaded.golden[0].shape[1:] != (dim,):
        reason = f"the golden rows have shape {loaded.golden[0].shape}"
    else:
        return
    raise VersionRefused(loaded.model_id, f"{loaded.manifest.meta_classifier}: {reason}")


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
